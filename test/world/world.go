// Package world is a mail system as it meets the world: sinks that accept, refuse, put
// off and take their time, a mailbox for what bounces, Maildirs, and mail of every kind
// from SMTP sessions and from sendmail. What kills, faults and hours of work do to it
// the tests that import it say; the oracle is package ledger.
package world

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// What bounds the duplicates that a kill of an agent may cause (S4).
const (
	InHand     = 20 // deliveries of a transport at once
	Recipients = 3  // of a message, at most
)

// World is the system and what is around it.
type World struct {
	*instance.Instance
	Ledger ledger.Ledger
	Good   *sink.Sink // refuses recipients no-..., and later-... at the first attempt
	Slow   *sink.Sink // 30 ms for each message
	Back   *sink.Sink // the mailbox of senders
}

// New makes the sinks and the configuration; lines are added to main.cf. The system is
// not started.
func New(t testing.TB, lines ...string) *World { return around(t, instance.New, lines) }

// Tagged is New with daemons that are built with a tag.
func Tagged(t testing.TB, tag string, lines ...string) *World {
	return around(t, func(t testing.TB, lines ...string) *instance.Instance { return instance.Tagged(t, tag, lines...) }, lines)
}

func around(t testing.TB, create func(testing.TB, ...string) *instance.Instance, lines []string) *World {
	w := &World{}
	w.Good, w.Slow, w.Back = sink.New(t, &w.Ledger), sink.New(t, &w.Ledger), sink.New(t, &w.Ledger)
	w.Temper()
	found := func(m *sink.Mail) { m.Tell(&w.Ledger) }
	w.Good.Handle(false, found)
	w.Slow.Handle(false, found)
	w.Back.Reports()
	w.Instance = create(t, append([]string{
		"transport_maps = inline:{ {good.test=smtp:" + w.Good.NextHop() + "} {slow.test=smtp:" + w.Slow.NextHop() + "} {back.test=smtp:" + w.Back.NextHop() + "} }",
		"minimal_backoff_time = 1s", "maximal_backoff_time = 1s", "service_throttle_time = 1s",
		fmt.Sprintf("default_process_limit = %d", InHand), "smtpd_client_connection_count_limit = 0",
	}, lines...)...)
	return w
}

// Temper gives the sinks their usual behaviour.
func (w *World) Temper() {
	var mu sync.Mutex
	seen := map[string]bool{} // recipients that were put off, until they are taken
	w.Good.Do(sink.Behaviour{Rcpt: func(_, r string) string {
		switch {
		case strings.HasPrefix(r, "no-"):
			return "550 5.1.1 nobody of that name"
		case strings.HasPrefix(r, "later-"):
			mu.Lock()
			defer mu.Unlock()
			if !seen[r] {
				seen[r] = true
				return "450 4.2.0 not at the first attempt"
			}
			delete(seen, r)
		}
		return ""
	}})
	w.Slow.Do(sink.Behaviour{Dot: func(*sink.Mail) string { time.Sleep(30 * time.Millisecond); return "" }})
}

// Letters makes messages of many kinds. Any goroutine may ask for one.
type Letters struct {
	// Sizes, if set, are those that occur, each as often as it stands there.
	Sizes []int

	mu     sync.Mutex
	random *rand.Rand
	n      int
}

// NewLetters makes the same letters for the same seed.
func NewLetters(seed uint64) *Letters {
	return &Letters{Sizes: sizes, random: rand.New(rand.NewPCG(seed, 2))}
}

var (
	sizes = []int{1000, 1000, 1000, 4000, 4000, 4000, 30_000, 30_000, 200_000, 700_000} // the last is no part of the journal
	kinds = []string{"%s@good.test", "%s@good.test", "later-%s@good.test", "%s@slow.test", "no-%s@good.test", "%s@" + instance.Domain}
)

// Next makes a letter.
func (x *Letters) Next() *source.Message {
	x.mu.Lock()
	x.n++
	id := fmt.Sprintf("m%d", x.n)
	var to []string
	for n := range 1 + x.random.IntN(Recipients) {
		kind, name := kinds[x.random.IntN(len(kinds))], fmt.Sprintf("%s-%d", id, n)
		if strings.HasSuffix(kind, instance.Domain) {
			name = fmt.Sprintf("box%d", (x.n*Recipients+n)%300) // as many as there are users
		}
		to = append(to, fmt.Sprintf(kind, name))
	}
	size := x.Sizes[x.random.IntN(len(x.Sizes))]
	x.mu.Unlock()
	return source.New(id, "sender@back.test", size, to...)
}

// Count is how many were made.
func (x *Letters) Count() int { x.mu.Lock(); defer x.mu.Unlock(); return x.n }

// Sent waits until n more messages were begun.
func (w *World) Sent(x *Letters, n int) {
	n += x.Count()
	w.Await(fmt.Sprintf("%d messages to be sent", n), func() bool { return x.Count() >= n })
}

// Submit is load by sendmail, which works whoever was killed, until ctx ends or next
// returns nil.
func (w *World) Submit(ctx context.Context, next func() *source.Message) {
	for ctx.Err() == nil {
		m := next()
		if m == nil {
			return
		}
		w.Ledger.Attempt(m.ID, ledger.Hash(m.Content), m.Recipients...)
		in := strings.ReplaceAll(string(m.Content), "\r\n", "\n")
		r, err := w.Try(in, "sendmail", append([]string{"-i", "-f", m.Sender, "--"}, m.Recipients...)...)
		if err == nil && r.Code == 0 {
			w.Ledger.Acked(m.ID, m.Recipients...)
		} else {
			w.Ledger.Unknown(m.ID, m.Recipients...)
		}
	}
}

// Drain waits until nothing is queued, pushing what is deferred, and accounts for all.
// What is found nowhere is looked for again for a while before it counts as lost: the
// queue manager, which lists the queue, reads of a message a moment after it was accepted.
func (w *World) Drain() (v ledger.Verdict) {
	var since time.Time
	w.Await("an empty queue", func() bool {
		w.Run("postqueue", "-f")
		if !w.Drained() {
			return false
		}
		w.Account(&w.Ledger)
		v = w.Ledger.Judge()
		if since.IsZero() {
			since = time.Now()
		}
		return len(v.Lost) == 0 || time.Since(since) > 5*time.Second
	})
	return v
}
