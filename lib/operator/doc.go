// Package operator is what the operators' commands (postqueue, postsuper, postcat) have
// in common: a Queue that is reached through qmgr while the mail system runs (live.go),
// and directly on the locked spool when it does not (direct.go). Both give the same
// answers, so a command need not know which it has.
//
// It imports config, ipc, proto and spool, reads main.cf, and touches the socket
// public/qmgr or the queue directory.
package operator

import (
	"errors"
	"io"

	"postrider/lib/proto"
	"postrider/lib/sysexits"
)

// Queue is the mail queue as an operator reaches it.
type Queue interface {
	// List calls f with each message; one with many recipients may come in several
	// items, one behind the other.
	List(l *proto.List, f func(*proto.Item) error) error
	// Do carries out a verb; what it reports is durable. An error is of kind *Error
	// when the queue manager refused.
	Do(v *proto.Verb) (*proto.Done, error)
	// Cat calls head with each of the messages and then writes its content to w.
	Cat(ids []string, head func(*proto.Item) error, w io.Writer) error
	// Why calls f with the reason of each of the messages that is found.
	Why(ids []string, f func(*proto.Reason) error) error
	// Shape counts the queue by domain and age: the sum first, then the domains.
	Shape(s *proto.Shape) (proto.ShapeRows, error)
	Close() error
}

// Kinds of error.
var (
	// ErrDown: the mail system is not running.
	ErrDown = errors.New("mail system is down")
	// ErrRunning: the spool is locked, and qmgr does not answer.
	ErrRunning = errors.New("mail system is starting or stopping")
)

// Error is a refusal, with the code of sysexits.h to end with.
type Error struct {
	Code int
	Text string
}

func (e *Error) Error() string { return e.Text }

// ExitCode is what a command ends with after an error of a Queue: the code of a
// refusal, else that of a service that cannot be had.
func ExitCode(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return sysexits.Unavailable
}
