package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// governed starts an instance with a sched.cf that sends all mail to s.
func governed(t *testing.T, s *sink.Sink, policy string, lines ...string) *instance.Instance {
	t.Helper()
	i := instance.New(t, append([]string{"relayhost = " + s.NextHop(), "minimal_backoff_time = 1s", "maximal_backoff_time = 2s"}, lines...)...)
	i.WriteFile("conf/sched.cf", policy)
	i.Start()
	return i
}

// gate is a sink's behaviour that keeps mail for some recipients waiting at the dot.
func gate(s *sink.Sink, holds func(rcpt string) bool) (open func()) {
	shut := make(chan struct{})
	s.Do(sink.Behaviour{Dot: func(m *sink.Mail) string {
		if len(m.Recipients) > 0 && holds(m.Recipients[0]) {
			<-shut
		}
		return ""
	}})
	var once sync.Once
	return func() { once.Do(func() { close(shut) }) }
}

// A queue whose deliveries hang takes its slots and no more: the others go on, to the same
// destination, and a message of a higher level goes before those that wait.
func TestPolicyQueues(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	s := sink.New(t, &l)
	open := gate(s, func(rcpt string) bool { return strings.HasPrefix(rcpt, "bulk") })
	defer open()
	i := governed(t, s, `
queue "bulk" {
  slots    = 2
  priority = "low"
}
queue "vip" { priority = "high" }
rule {
  when  = rcpt_domain == "bulk.test"
  queue = "bulk"
}
rule {
  when  = rcpt_domain == "vip.test"
  queue = "vip"
}
rule { }
`)
	var last string
	for n := range 12 {
		last = send(t, i, &l, source.New(fmt.Sprintf("bulk-%d", n), "a@source.test", 500, fmt.Sprintf("bulk%d@bulk.test", n)))
	}
	i.Await("two of bulk are in hand", func() bool { return s.Pending() == 2 })
	vip := send(t, i, &l, source.New("vip", "a@source.test", 500, "x@vip.test"))
	plain := send(t, i, &l, source.New("plain", "a@source.test", 500, "x@plain.test"))
	i.AwaitLog(vip + ": removed")
	i.AwaitLog(plain + ": removed")
	if n := s.Pending(); n != 2 {
		t.Errorf("%d of bulk are in hand, its slots are 2", n)
	}
	if why := i.Must("postqueue", "-w", last); !strings.Contains(why, "queue bulk, low\n") || !strings.Contains(why, "waits for a slot of queue bulk: 2 of 2 in use") {
		t.Errorf("why: %s", why)
	}
	if shape := i.Must("postqueue", "-q", "-C"); !strings.Contains(shape, "bulk") || strings.Contains(shape, "vip") {
		t.Errorf("shape: %s", shape)
	}
	open()
	i.Await("all mail", func() bool { return l.Open() == 0 })
}

// A rate keeps the mail of one sender waiting, without an attempt and without keeping
// another's; and connections are limited for each key.
func TestPolicyLimits(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	s := sink.New(t, &l)
	open := gate(s, func(rcpt string) bool { return strings.HasPrefix(rcpt, "slow") })
	defer open()
	i := governed(t, s, `
limit "tenant" {
  key   = [sender_domain]
  when  = rcpt_domain == "rate.test"
  rate  = "2/hr"
  burst = 2
}
limit "store" {
  key         = [rcpt_domain]
  when        = rcpt_domain == "store.test"
  connections = 3
}
rule { }
`)
	var ids []string
	for n := range 3 {
		ids = append(ids, send(t, i, nil, source.New(fmt.Sprintf("a-%d", n), "x@acme.test", 500, fmt.Sprintf("r%d@rate.test", n))))
	}
	other := send(t, i, &l, source.New("other", "x@other.test", 500, "r@rate.test"))
	i.AwaitLog(other + ": removed")
	i.AwaitLog(ids[0] + ": removed")
	i.AwaitLog(ids[1] + ": removed")
	why := i.Must("postqueue", "-w", ids[2])
	if !strings.Contains(why, `waits for limit "tenant" of sender_domain=acme.test (2/h, 2 at once)`) || !strings.Contains(why, "not tried yet") {
		t.Errorf("why: %s", why)
	}
	var slow string
	for n := range 8 {
		slow = send(t, i, &l, source.New(fmt.Sprintf("s-%d", n), "x@other.test", 500, fmt.Sprintf("slow%d@store.test", n)))
	}
	i.Await("three are in hand", func() bool { return s.Pending() == 3 })
	if why := i.Must("postqueue", "-w", slow); !strings.Contains(why, `waits for limit "store" of rcpt_domain=store.test: 3 of 3 connections in use`) {
		t.Errorf("why: %s", why)
	}
	open()
	i.Await("all mail of the store", func() bool { return l.Open() == 0 })

	// The rate survives a restart.
	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}
	i.Start()
	i.Await("its reason after a restart", func() bool {
		return strings.Contains(i.Run("postqueue", "-w", ids[2]).Stdout, `waits for limit "tenant" of sender_domain=acme.test`)
	})
	if n := len(i.Grep(ids[2] + ": to=")); n != 0 {
		t.Errorf("%d attempts", n)
	}
}

// A recipient's schedule is its own, its attempts survive a restart, and max_attempts ends
// it; tiers lead it to another queue.
func TestPolicySchedules(t *testing.T) {
	t.Parallel()
	s := sink.New(t, nil)
	s.Do(sink.Behaviour{Rcpt: func(_, rcpt string) string { return "450 4.2.1 not now" }})
	i := governed(t, s, `
queue "slow" { }
schedule "three" {
  retry        = ["1s"]
  jitter       = "0%"
  max_attempts = 3
}
schedule "hour" {
  retry  = ["1h"]
  expire = "6d"
}
rule {
  when     = rcpt_domain == "three.test"
  schedule = "three"
}
rule {
  when     = attempts >= 2
  queue    = "slow"
  schedule = "hour"
}
rule { }
`)
	three := send(t, i, nil, source.New("three", "", 500, "x@three.test"))
	tiers := send(t, i, nil, source.New("tiers", "", 500, "x@tiers.test"))
	i.AwaitLog(three + `: to=<x@three\.test>.*status=deferred`)
	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}
	i.Start()
	i.AwaitLog(three + ": from=<>, status=expired, returned to sender")
	attempts := func() int { return len(i.Grep(three + `: to=<x@three\.test>.*status=deferred`)) }
	i.Await("three attempts in the log", func() bool { return attempts() >= 3 }) // smtp writes its lines, qmgr its own
	if n := attempts(); n != 3 {
		t.Errorf("%d attempts, want 3", n)
	}
	i.Await("the second failure leads to the slow queue", func() bool {
		return strings.Contains(i.Run("postqueue", "-w", tiers).Stdout, "queue slow\n")
	})
	if n := len(i.Grep(tiers + `: to=<x@tiers\.test>.*status=deferred`)); n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
}

// Mail waits for its window without an attempt, and for the time that its header asks for.
func TestPolicyWindows(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	s := sink.New(t, &l)
	now := time.Now().UTC()
	shut := now.Add(3 * time.Hour)
	i := governed(t, s, fmt.Sprintf(`
window "later" {
  hours = ["%s-%s"]
  zone  = "UTC"
}
rule {
  when   = rcpt_domain == "later.test"
  window = "later"
}
rule { }
`, shut.Format("15:04"), shut.Add(time.Hour).Format("15:04")))
	later := send(t, i, nil, source.New("later", "a@source.test", 500, "x@later.test"))
	soon := send(t, i, &l, source.New("soon", "a@source.test", 500, "x@soon.test"))
	i.AwaitLog(soon + ": removed")
	i.AwaitQueue(later, "deferred")
	why := i.Must("postqueue", "-w", later)
	if !strings.Contains(why, "waits for window later to open, next in") || !strings.Contains(why, "not tried yet") {
		t.Errorf("why: %s", why)
	}
	if n := len(i.Grep(later + ": to=")); n != 0 {
		t.Errorf("%d attempts", n)
	}
}

// Each notice of the delay comes once, counted from arrival.
func TestPolicyNotices(t *testing.T) {
	t.Parallel()
	s := sink.New(t, nil)
	s.Do(sink.Behaviour{Rcpt: func(_, rcpt string) string {
		if rcpt == "x@late.test" {
			return "450 4.2.1 not now"
		}
		return ""
	}})
	i := governed(t, s, `
schedule "told" {
  retry  = ["1s"]
  jitter = "0%"
  notify = ["1s", "3s", "5s"]
}
rule { schedule = "told" }
`)
	late := send(t, i, nil, source.New("late", "a@source.test", 500, "x@late.test"))
	notices := func() int {
		n := 0
		for _, m := range s.Mails() {
			if m.Sender == "" && strings.Contains(string(m.Content), "Action: delayed") {
				n++
			}
		}
		return n
	}
	attempts := func() int { return len(i.Grep(late + `: to=<x@late\.test>.*status=deferred`)) }
	i.Await("three notices", func() bool { return notices() == 3 })
	// Two more attempts, the second of which begins when all of the first is over.
	upTo := attempts() + 2
	i.Await("two more attempts", func() bool { return attempts() >= upTo })
	if n := notices(); n != 3 {
		t.Errorf("%d notices, want 3", n)
	}
}
