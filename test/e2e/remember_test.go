package e2e

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// What was learned of destinations survives a restart: one that was found dead is not
// tried, and one that takes two connections gets two at once.
func TestRemember(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	dead, wide := sink.New(t, &l), sink.New(t, &l)
	dead.Refuse()
	i := instance.Started(t, "minimal_backoff_time = 1000s", "maximal_backoff_time = 1000s", "initial_destination_concurrency = 1",
		route("dead.test", dead, "wide.test", wide))
	first := send(t, i, &l, source.New("dead-1", "a@source.test", 1000, "x@dead.test"))
	i.AwaitLog(first + `: to=<x@dead\.test>, .* status=deferred \(connect to 127\.0\.0\.1`)
	send(t, i, &l, source.New("wide-1", "a@source.test", 1000, "x@wide.test"))
	i.Await("the window to grow", func() bool { return len(wide.Find("wide-1")) == 1 && len(i.List()) == 1 })
	probe := func() time.Time {
		t.Helper()
		out := i.Must("postqueue", "-w", first)
		found := regexp.MustCompile(`the destination is dead since .*; next probe: (\w+ \w+ +\d+ \d+:\d+:\d+), in `).FindStringSubmatch(out)
		if found == nil {
			t.Fatalf("not dead:\n%s", out)
		}
		at, err := time.Parse("Mon Jan _2 15:04:05", found[1])
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	before := probe()
	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}

	both := make(chan struct{})
	wide.Do(sink.Behaviour{Dot: func(*sink.Mail) string { <-both; return "" }})
	i.Start()
	dead.Accept(t)
	second := send(t, i, &l, source.New("dead-2", "a@source.test", 1000, "x@dead.test"))
	i.AwaitLog(second + `: to=<x@dead\.test>, relay=none, .* status=deferred \(delivery temporarily suspended: connect to 127\.0\.0\.1`)
	if d := probe().Sub(before); d < -time.Second || d > time.Second { // it is dead as long as it would have been
		t.Errorf("the next probe moved by %v", d)
	}
	if sessions, _, _ := dead.Counts(); sessions > 0 {
		t.Errorf("a dead destination was tried after the restart")
	}
	for n := range 2 {
		send(t, i, &l, source.New(fmt.Sprintf("wide-%d", n+2), "a@source.test", 1000, "x@wide.test"))
	}
	i.Await("two deliveries at once", func() bool { return wide.Pending() == 2 })
	close(both)

	i.Must("postqueue", "-f") // forgets the dead
	i.Await("all deliveries", func() bool { return l.Open() == 0 })
	if err := l.Judge().Err(); err != nil {
		t.Error(err)
	}
}
