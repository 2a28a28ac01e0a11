package kill

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
	"postrider/test/world"
)

const window = 50

// parked is a system with 50 deliveries between the final dot and the reply, and as many
// messages that wait for another destination. The returned functions let the first n
// replies go, and all.
func parked(t *testing.T, l *ledger.Ledger) (i *instance.Instance, far, closed *sink.Sink, release func(n int)) {
	t.Helper()
	far, closed = sink.New(t, l), sink.New(t, l)
	closed.Refuse()
	gate := make(chan struct{})
	var once sync.Once
	let := func(n int) {
		if n < 0 {
			once.Do(func() { close(gate) })
			return
		}
		for range n {
			gate <- struct{}{}
		}
	}
	t.Cleanup(func() { let(-1) })
	far.Do(sink.Behaviour{Dot: func(*sink.Mail) string { <-gate; return "" }})
	i = instance.Started(t, "transport_maps = inline:{ {far.test=smtp:"+far.NextHop()+"} {closed.test=smtp:"+closed.NextHop()+"} }",
		fmt.Sprintf("initial_destination_concurrency = %d", window), fmt.Sprintf("default_destination_concurrency_limit = %d", window),
		"minimal_backoff_time = 1s", "maximal_backoff_time = 1s", "smtp_data_done_timeout = 60s")
	s, err := source.Dial(i.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n := range window {
		for _, domain := range []string{"far", "closed"} {
			m := source.New(fmt.Sprintf("%s-%d", domain, n), "a@source.test", 2000, fmt.Sprintf("r%d@%s.test", n, domain))
			if o, err := s.Send(m, l); err != nil || len(o.Acked) != 1 {
				t.Fatalf("%s: %+v, %v", m.ID, o, err)
			}
		}
	}
	i.Await("50 deliveries past the dot", func() bool { return far.Pending() == window })
	return i, far, closed, let
}

// drained waits for the end and judges.
func drained(i *instance.Instance, closed *sink.Sink, l *ledger.Ledger) ledger.Verdict {
	i.Await("an empty queue", func() bool { i.Run("postqueue", "-f"); return i.Drained() })
	return l.Judge()
}

// A kill of qmgr repeats nothing: the agent finishes what it has, keeps the results, and
// gives them to the next qmgr, whether the replies come before that is there or after.
func TestQmgr(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	i, far, closed, release := parked(t, &l)
	i.KillOne("qmgr")
	release(window / 2)
	i.PID("qmgr")
	i.List() // it serves
	i.KillOne("qmgr")
	i.List()
	release(-1)
	closed.Accept(t)
	v := drained(i, closed, &l)
	if v.Err() != nil || len(v.Duplicates) > 0 || v.Delivered != 2*window {
		t.Errorf("%v; %v; %v", v.Err(), v, v.Duplicates)
	}
	if _, _, mails := far.Counts(); mails != window {
		t.Errorf("%d messages arrived, not %d", mails, window)
	}
}

// A kill of smtp repeats at most what it had in hand: here exactly the 50 whose reply it
// did not see.
func TestSMTP(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	i, _, closed, release := parked(t, &l)
	i.KillOne("smtp")
	release(-1)
	closed.Accept(t)
	v := drained(i, closed, &l)
	if v.Err() != nil || v.Delivered != 2*window || len(v.Duplicates) > window {
		t.Errorf("%v; %v", v.Err(), v)
	}
	for _, k := range v.Duplicates {
		if k.Recipient[len(k.Recipient)-8:] != "far.test" {
			t.Errorf("%s was not in hand and came twice", k)
		}
	}
}

// A kill of cleanup repeats nothing and loses nothing that was acknowledged.
func TestCleanup(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	w.Start()
	ctx, stop := context.WithCancel(context.Background())
	x := world.NewLetters(1)
	var load sync.WaitGroup
	load.Go(func() { source.Load(ctx, w.Addr, 4, &w.Ledger, x.Next) })
	load.Go(func() { w.Submit(ctx, x.Next) })
	for range 5 {
		w.Sent(x, 20)
		w.KillOne("cleanup")
	}
	stop()
	load.Wait()
	v := w.Drain()
	t.Log(v)
	if v.Err() != nil || len(v.Duplicates) > 0 || v.Acked == 0 {
		t.Errorf("%v; %v; %v", v.Err(), v, v.Duplicates)
	}
}

// Of a master that is killed alone the daemons finish what they have; the next master
// waits for the last of them, says so, and nothing is lost or repeated.
func TestMaster(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	i, _, closed, release := parked(t, &l)
	left := i.KillMaster()
	if !slices.ContainsFunc(left, func(p instance.Process) bool { return p.Name == "qmgr" }) {
		t.Fatalf("left: %v", left)
	}
	i.Launch()
	i.AwaitLog(`master\[\d+\]: warning: waiting for the lock of the queue, held by \w+`)
	if !instance.Alive(left) {
		t.Error("the daemons did not wait for the replies")
	}
	release(-1)
	i.Await("the end of the old daemons", func() bool { return !instance.Alive(left) })
	i.Await("the greeting", i.Greets)
	closed.Accept(t)
	v := drained(i, closed, &l)
	if v.Err() != nil || len(v.Duplicates) > 0 || v.Delivered != 2*window {
		t.Errorf("%v; %v; %v", v.Err(), v, v.Duplicates)
	}
}
