package scale

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"postrider/test/sink"
	"postrider/test/source"
)

// Flow is a steady stream of mail of which each message is timed: from the moment it
// was to be sent until the sink has it whole.
type Flow struct {
	mu      sync.Mutex
	name    string
	sent    []time.Time
	arrived map[string]time.Time
	again   int // messages that arrived more than once
	refused int // could not be sent
}

// NewFlow makes a stream whose messages carry this name; Arrive is to be told of what
// the sink takes.
func NewFlow(name string) *Flow { return &Flow{name: name, arrived: map[string]time.Time{}} }

// Arrive is for sink.Handle.
func (f *Flow) Arrive(m *sink.Mail) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.arrived[m.ID]; ok {
		f.again++
		return
	}
	f.arrived[m.ID] = m.At
}

// Run sends rate messages a second until ctx ends, the n-th to to(n). What a slow server
// delays is counted against it: each message has its moment.
func (f *Flow) Run(ctx context.Context, addr string, rate float64, to func(n int) string) {
	var wg sync.WaitGroup
	defer wg.Wait()
	free := make(chan *source.Session, 64)
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		f.mu.Lock()
		f.sent = append(f.sent, time.Now())
		f.mu.Unlock()
		wg.Go(func() { f.send(addr, free, source.New(f.id(n), "s@example.com", 2000, to(n))) })
	}
}

func (f *Flow) id(n int) string { return fmt.Sprintf("%s-%d", f.name, n) }

func (f *Flow) send(addr string, free chan *source.Session, m *source.Message) {
	var s *source.Session
	select {
	case s = <-free:
	default:
	}
	for range 3 {
		var err error
		if s == nil {
			if s, err = source.Dial(addr); err != nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
		}
		if o, err := s.Send(m, nil); err != nil || len(o.Acked) == 0 {
			s.Abort()
			s = nil
			continue
		}
		select {
		case free <- s:
		default:
			s.Close()
		}
		return
	}
	f.mu.Lock()
	f.refused++
	f.mu.Unlock()
}

// Times are how long the messages of a flow were under way.
type Times struct {
	All     []time.Duration // sorted; what never arrived counts as an hour
	Again   int
	Refused int
}

// Times returns those of the messages sent between two moments. It waits up to grace
// for the last of them.
func (f *Flow) Times(from, to time.Time, grace time.Duration) Times {
	for end := time.Now().Add(grace); ; time.Sleep(20 * time.Millisecond) {
		t, missing := f.times(from, to)
		if missing == 0 || time.Now().After(end) {
			return t
		}
	}
}

func (f *Flow) times(from, to time.Time) (t Times, missing int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t.Again, t.Refused = f.again, f.refused
	for n, sent := range f.sent {
		if sent.Before(from) || !sent.Before(to) {
			continue
		}
		at, ok := f.arrived[f.id(n)]
		if !ok {
			at = sent.Add(time.Hour)
			missing++
		}
		t.All = append(t.All, at.Sub(sent))
	}
	slices.Sort(t.All)
	return t, missing
}

// Arrived is how many messages have.
func (f *Flow) Arrived() int { f.mu.Lock(); defer f.mu.Unlock(); return len(f.arrived) }

// Quantile returns the time within which that share of the messages arrived.
func (t Times) Quantile(share float64) time.Duration {
	if len(t.All) == 0 {
		return time.Hour
	}
	return t.All[min(int(share*float64(len(t.All))), len(t.All)-1)]
}

// Within returns the share, in percent, that arrived within d.
func (t Times) Within(d time.Duration) float64 {
	n, _ := slices.BinarySearch(t.All, d+1)
	return 100 * float64(n) / float64(max(len(t.All), 1))
}

func (t Times) String() string {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/1e6) }
	s := fmt.Sprintf("%.1f %% of %d within a second; median %s, 99 %% %s, worst %s", t.Within(time.Second), len(t.All),
		ms(t.Quantile(.5)), ms(t.Quantile(.99)), ms(t.Quantile(1)))
	if t.Refused+t.Again > 0 {
		s += fmt.Sprintf(" (%d not accepted, %d arrived twice)", t.Refused, t.Again)
	}
	return s
}
