package cleanup

import (
	"errors"
	"runtime"
	"sync"

	"postrider/lib/ipc"
	"postrider/lib/journal"
	"postrider/lib/proto"
)

// maxReplies is how many replies go into one frame; the longest text keeps it far
// below the limit of a frame.
const maxReplies = 1000

// replies sends answers, all that are there in one frame.
type replies struct {
	conn *ipc.Conn
	wake chan struct{}

	mu     sync.Mutex
	list   []proto.SubmitReply
	closed bool
}

func (r *replies) init(conn *ipc.Conn) { r.conn, r.wake = conn, make(chan struct{}, 1) }

// add never waits: the journal's committer calls it.
func (r *replies) add(p proto.SubmitReply) {
	r.mu.Lock()
	r.list = append(r.list, p)
	first := len(r.list) == 1
	r.mu.Unlock()
	if first {
		r.poke()
	}
}

// close ends run once everything is sent.
func (r *replies) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.poke()
}

func (r *replies) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run sends until close. A client that is gone needs no answers.
func (r *replies) run() {
	defer r.conn.Close()
	var list []proto.SubmitReply
	for range r.wake {
		runtime.Gosched() // the committer has more of the same batch
		r.mu.Lock()
		list, r.list = r.list, list[:0]
		closed := r.closed
		r.mu.Unlock()
		for rest := list; len(rest) > 0; {
			n := min(len(rest), maxReplies)
			if r.conn.Send(proto.TypeSubmitReplies, &proto.SubmitReplies{Replies: rest[:n]}) != nil {
				r.conn.Close()
				break
			}
			rest = rest[n:]
		}
		clear(list)
		if closed {
			return
		}
	}
}

// refusal is why a message is not taken, as an SMTP reply.
type refusal struct {
	code int
	dsn  string
	text string
	said bool // the log has it
}

func (r *refusal) reply(tx uint32) proto.SubmitReply {
	return proto.SubmitReply{Tx: tx, Code: uint16(r.code), DSN: r.dsn, Text: r.text, Said: r.said}
}

// refusalOf turns an error of the journal into a reply.
func refusalOf(err error) *refusal {
	switch {
	case errors.Is(err, journal.ErrUnknown):
		return &refusal{code: proto.SubmitUnknown, dsn: "", text: ""}
	case errors.Is(err, journal.ErrFull):
		return &refusal{code: 452, dsn: "4.3.1", text: "Insufficient system storage"}
	}
	return &refusal{code: 451, dsn: "4.3.0", text: "Error: queue file write error"}
}
