package maillog

import (
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"postrider/lib/memory"
)

// Rank is where a process stands on a message's way: its lines come behind those of
// processes of a lower rank.
type Rank uint64

// The ranks. What stands in the log of a message is in their order.
const (
	Receiving  Rank = iota + 1 // smtpd: client=
	Accepting                  // cleanup: uid=, message-id=
	Queueing                   // qmgr: from=; but for removed, which comes last
	Delivering                 // smtp, local, bounce: to=
)

const (
	// Places is how many processes can be in one Order.
	Places = orderSize/cellSize - 1

	orderSize = 4096
	cellSize  = 64 // a cache line, so that a process writes into its own
	// glance is the pause between two looks at what others have written.
	glance = 2 * time.Millisecond
	// trust is how long others are waited for. A machine with much else to do keeps one
	// that has lines in hand from its processor for tenths of a second; Close and Flush are
	// to have time left to write.
	trust = patience / 2
)

// Order has the lines about a message come into the log in the order of its way, though
// each process gathers its own and writes them together. It is memory that all have in
// common: each process says in a cell of its own how old the oldest of its lines is that
// is not written yet, and who writes waits for those before him. So order costs no write,
// and nobody but the goroutine that writes the log waits.
//
// Ages are tickets, drawn from one counter. A process draws one before the message goes
// on to the next, which therefore finds it there. What a process says of itself is
// believed for half a second only, and while there is room for more lines: one that is stuck,
// dead or wicked holds nobody up for longer, and costs the order of lines.
type Order struct {
	tickets *atomic.Uint64
	cells   [Places]*cell
	own     *cell
	rank    Rank
	vain    [Places]uint64 // tickets that were waited for in vain
}

// cell is what one process says of itself.
type cell struct {
	rank   atomic.Uint64 // Rank, 0 when nobody has the place
	oldest atomic.Uint64 // ticket of its oldest line that is not written, or 0
}

// NewOrder makes the memory of an Order.
func NewOrder() (*os.File, error) { return memory.New("order of the log", orderSize) }

// JoinOrder takes a place, from 0, in an Order whose memory f is.
func JoinOrder(f *os.File, place int, rank Rank) (*Order, error) {
	mem, err := memory.Map(f, orderSize)
	if err != nil {
		return nil, err
	}
	o := &Order{tickets: (*atomic.Uint64)(unsafe.Pointer(&mem[0])), rank: rank}
	for i := range o.cells {
		o.cells[i] = (*cell)(unsafe.Pointer(&mem[(i+1)*cellSize]))
	}
	o.own = o.cells[place]
	o.own.oldest.Store(0)
	o.own.rank.Store(uint64(rank))
	return o, nil
}

// draw takes a ticket for a line that is about to wait. The first ones are 1 and 2.
func (o *Order) draw() uint64 { return o.tickets.Add(1) }

// now is a ticket that is as new as any line there is.
func (o *Order) now() uint64 { return o.tickets.Load() }

// say sets the oldest line that waits, 0 when there is none.
func (o *Order) say(ticket uint64) { o.own.oldest.Store(ticket) }

// wait returns when those of a lower rank have written what they had at the time of the
// ticket, or it was in vain: for too long, or until hurry says so.
func (o *Order) wait(upTo uint64, hurry func() bool) {
	end := time.Now().Add(trust)
	for i, c := range o.cells {
		if r := Rank(c.rank.Load()); r == 0 || r >= o.rank {
			continue
		}
		for t := c.oldest.Load(); waits(t, upTo) && t != o.vain[i]; t = c.oldest.Load() {
			if hurry() || time.Now().After(end) {
				o.vain[i] = t
				break
			}
			time.Sleep(glance)
		}
	}
}

// pending says whether one of a higher rank has not written yet what it had at the time
// of the ticket.
func (o *Order) pending(upTo uint64) bool {
	for _, c := range o.cells {
		if Rank(c.rank.Load()) > o.rank && waits(c.oldest.Load(), upTo) {
			return true
		}
	}
	return false
}

func waits(ticket, upTo uint64) bool { return ticket != 0 && ticket <= upTo }

// lastLines are those that close what is said of a message ("removed"): each comes behind the
// lines of processes of a higher rank. Nobody waits for that: they are held back until it
// is so, while the others are written, since two that waited for one another would stand still.
type lastLines struct {
	fresh []byte
	held  []byte
	upTo  uint64    // ticket of the time when held was all of fresh
	since time.Time // that time
}

// take appends to b those that may be written; at the end, all.
func (l *lastLines) take(b []byte, o *Order, ended bool) []byte {
	for range 2 {
		if len(l.held) > 0 && !ended && o.pending(l.upTo) && time.Since(l.since) < trust {
			return b
		}
		b = append(b, l.held...)
		l.held, l.fresh = l.fresh, l.held[:0]
		l.upTo, l.since = o.now(), time.Now()
	}
	return b
}
