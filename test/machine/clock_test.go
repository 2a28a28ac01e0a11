package machine

import (
	"fmt"
	"os"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// The wall clock jumps an hour and ten years, ahead and back, under the running system and
// while it is down: nothing is returned that was not tried, what is deferred keeps its time
// as the monotonic clock has it, new mail flows, and nothing is lost or repeated.
func TestClock(t *testing.T) {
	if os.Getenv("POSTRIDER_CLOCK") == "" {
		t.Skip("builds the daemons with the whole standard library anew; set POSTRIDER_CLOCK=1, as .ci/run does")
	}
	const years = 10 * 365 * 24 * time.Hour
	for _, step := range []time.Duration{hour, -hour, years, -years} {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, down %v", step, down), func(t *testing.T) {
				t.Parallel()
				clock(t, step, down)
			})
		}
	}
}

const hour = time.Hour

func clock(t *testing.T, step time.Duration, down bool) {
	const messages, backoff = 10, 12 * time.Second
	var l ledger.Ledger
	far, back := sink.New(t, &l), sink.New(t, &l)
	back.Reports()
	far.Refuse()
	i := instance.Clocked(t, "transport_maps = inline:{ {far.test=smtp:"+far.NextHop()+"} {back.test=smtp:"+back.NextHop()+"} }",
		"default_destination_concurrency_failed_cohort_limit = 0", "queue_run_delay = 1s",
		fmt.Sprintf("minimal_backoff_time = %ds", backoff/time.Second), fmt.Sprintf("maximal_backoff_time = %ds", backoff/time.Second))
	i.Start()
	for n := range messages {
		send(t, i, &l, source.New(fmt.Sprintf("m%d", n), "a@back.test", 1000, fmt.Sprintf("r%d@far.test", n)))
	}
	deferred := 0
	i.Await("all to be deferred", func() bool { deferred = len(i.Grep("status=deferred")); return deferred >= messages })
	since := time.Now() // the last was deferred a moment ago at most
	far.Accept(t)
	if down {
		if err := i.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	i.Step(step)
	if down {
		i.Start()
	}
	send(t, i, &l, source.New("new", "a@back.test", 1000, "new@far.test"))
	i.Await("new mail to arrive", func() bool { return l.Judge().Delivered > 0 })
	// An hour or more that passed while the system was down counts, up to a day: that mail
	// is due. A running system keeps its times, and so does one whose clock was put back.
	keeps := !down || step < 0
	i.Await("an empty queue", func() bool { return l.Open() == 0 && i.Drained() })
	took := time.Since(since)
	t.Logf("%d deferrals; all delivered %.1f s after the last", deferred, took.Seconds())
	if keeps && took < backoff*2/3 || took > 5*backoff {
		t.Errorf("mail that was put off for %v came %v after", backoff, took)
	}
	if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 || v.Delivered != messages+1 || v.Bounced > 0 {
		t.Errorf("%v; %v", v.Err(), v)
	}
	if n := len(i.Grep("status=expired")); n > 0 {
		t.Errorf("%d expired", n)
	}
	if f := i.Files("corrupt"); len(f) > 0 {
		t.Errorf("in corrupt/: %v", f)
	}
	// The system has seen the step.
	want := time.Now().Add(step).Format("Jan 02")
	if step > hour && len(i.Grep("^"+want)) == 0 {
		t.Errorf("no line of the log is of %s: the clock was not set", want)
	}
}
