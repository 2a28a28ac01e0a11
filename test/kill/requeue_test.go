package kill

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// Whatever is killed while everything is requeued, again and again, there is exactly
// one living copy of each message in the end, and each is delivered once.
func TestRequeue(t *testing.T) {
	t.Parallel()
	const messages = 120
	var l ledger.Ledger
	far := sink.New(t, &l)
	far.Refuse()
	i := instance.Started(t, "transport_maps = inline:{ {far.test=smtp:"+far.NextHop()+"} }", "journal_inline_limit = 20000",
		"minimal_backoff_time = 1000s", "maximal_backoff_time = 1000s")
	s, err := source.Dial(i.Addr)
	if err != nil {
		t.Fatal(err)
	}
	for n := range messages {
		size := 2000
		if n%10 == 0 {
			size = 30000 // with a file of its own
		}
		m := source.New(fmt.Sprintf("again-%d", n), "a@source.test", size, "r@far.test", "s@far.test")
		if o, err := s.Send(m, &l); err != nil || len(o.Acked) != 2 {
			t.Fatalf("%s: %+v, %v", m.ID, o, err)
		}
	}
	s.Close()
	count := func() (deferred, all int) {
		for _, q := range i.List() {
			if all++; q.Queue == "deferred" && len(q.Recipients) == 2 && q.Recipients[0].Reason != "" {
				deferred++
			}
		}
		return deferred, all
	}
	settled := func() bool { d, all := count(); return d == messages && all == messages }
	t.Cleanup(func() {
		if t.Failed() {
			d, all := count()
			t.Logf("%d messages, %d of them deferred", all, d)
			for _, q := range i.List() {
				if q.Queue != "deferred" || len(q.Recipients) != 2 || q.Recipients[0].Reason == "" {
					t.Logf("%+v", q)
				}
			}
		}
	})
	i.Await("all deferred", settled)
	random := rand.New(rand.NewPCG(3, 4))
	victims := []string{"cleanup", "qmgr", "all", "cleanup", "qmgr"}
	for round, victim := range victims {
		done := make(chan error, 1)
		go func() {
			_, err := i.Try("", "postsuper", "-r", "ALL")
			done <- err
		}()
		time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond) // any moment will do
		if victim == "all" {
			i.Kill()
			i.Start()
		} else {
			i.KillOne(victim)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		i.Await(fmt.Sprintf("round %d, %s killed: each message once", round, victim), settled)
	}
	i.Await("each message there once", func() bool { // what is still being requeued has another id a moment later
		ids := map[string]bool{}
		for _, q := range i.List() {
			id := regexp.MustCompile(`again-\d+@`).FindString(i.Run("postcat", "-q", "-h", q.ID).Stdout)
			if id == "" || ids[id] {
				return false
			}
			ids[id] = true
		}
		return len(ids) == messages
	})
	far.Accept(t)
	i.Await("an empty queue", func() bool { i.Run("postqueue", "-f"); return i.Drained() })
	if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 || v.Delivered != 2*messages {
		t.Errorf("%v; %v; %v", v.Err(), v, v.Duplicates)
	}
}
