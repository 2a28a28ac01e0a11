//go:build bench

package bench

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// latency is from the end of DATA to arrival.
type latency struct {
	mu      sync.Mutex
	sent    map[string]time.Time
	arrived map[string]time.Time
}

func newLatency() *latency {
	return &latency{sent: map[string]time.Time{}, arrived: map[string]time.Time{}}
}

// left and came note a message at either end.
func (d *latency) left(id string, at time.Time) { d.mu.Lock(); d.sent[id] = at; d.mu.Unlock() }
func (d *latency) came(m *sink.Mail)            { d.mu.Lock(); d.arrived[m.ID] = m.At; d.mu.Unlock() }

// quantiles are the median and 99 %, in milliseconds.
func (d *latency) quantiles() (p50, p99 float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ms []float64
	for id, at := range d.arrived {
		if sent, ok := d.sent[id]; ok {
			ms = append(ms, float64(at.Sub(sent).Microseconds())/1000)
		}
	}
	if len(ms) == 0 {
		return 0, 0
	}
	slices.Sort(ms)
	return ms[len(ms)/2], ms[len(ms)*99/100]
}

// runs counts the ledger runs, so that no message id is used twice.
var runs atomic.Int64

// ledgered sends n messages of the load from test/source, and checks that each arrived
// at s once and whole. s must be the sink that the system sends to; pause is between two
// messages of a session.
func (l load) ledgered(t *testing.T, addr string, s *sink.Sink, n int, pause time.Duration) *latency {
	t.Helper()
	var (
		book  ledger.Ledger
		times = newLatency()
		left  atomic.Int64
		wg    sync.WaitGroup
		run   = runs.Add(1)
	)
	s.Handle(false, func(m *sink.Mail) { times.came(m); m.Tell(&book) })
	left.Store(int64(n))
	for range l.sessions {
		wg.Go(func() {
			var x *source.Session
			for {
				k := left.Add(-1)
				if k < 0 {
					break
				}
				if x == nil {
					var err error
					if x, err = source.Dial(addr); err != nil {
						t.Error(err)
						return
					}
				}
				id := fmt.Sprintf("b%d-%d", run, k)
				o, err := x.Send(source.New(id, "sender@example.com", l.size, l.names(int(k))...), &book)
				if err != nil || o.Acked == nil {
					t.Errorf("%+v: %v", o, err)
					return
				}
				times.left(id, o.Sent)
				if !l.kept {
					x.Close()
					x = nil
				}
				time.Sleep(pause)
			}
			if x != nil {
				x.Close()
			}
		})
	}
	wg.Wait()
	await(t, "all mail of the ledger", func() bool { return book.Open() == 0 })
	if v := book.Judge(); v.Err() != nil || len(v.Duplicates) > 0 {
		failures = append(failures, fmt.Sprintf("%s: %s: %s", t.Name(), l.name, v))
		t.Errorf("%s: %s", l.name, v)
	}
	return times
}

// names are the recipients of message k.
func (l load) names(k int) []string {
	if l.numbered {
		return []string{fmt.Sprintf("%dr@example.net", k)}
	}
	names := make([]string, max(1, l.recipients))
	for i := range names {
		names[i] = fmt.Sprintf("%dr@example.net", i)
	}
	return names
}
