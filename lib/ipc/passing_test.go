package ipc

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A call that failed for a moment is made again; one on a connection that is over is not.
func TestPersist(t *testing.T) {
	for _, e := range []error{unix.ENOMEM, unix.ENOBUFS, unix.ETOOMANYREFS, unix.EMFILE, &net.OpError{Op: "write", Err: os.NewSyscallError("sendmsg", unix.EIO)}} {
		calls := 0
		if err := persist(func() error {
			if calls++; calls < 3 {
				return e
			}
			return nil
		}); err != nil || calls != 3 {
			t.Errorf("%v: %v after %d calls", e, err, calls)
		}
	}
	for _, e := range []error{unix.EPIPE, unix.ECONNRESET, unix.EBADF, net.ErrClosed, io.EOF, os.ErrDeadlineExceeded, fmt.Errorf("write: %w", unix.EPIPE)} {
		calls := 0
		if err := persist(func() error { calls++; return e }); !errors.Is(err, e) || calls != 1 {
			t.Errorf("%v: %v after %d calls", e, err, calls)
		}
	}
}
