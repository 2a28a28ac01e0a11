package e2e

import (
	"fmt"
	"net"
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
	if n := len(i.Grep(three + `: to=<x@three\.test>.*status=deferred`)); n != 3 {
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

// Mail leaves from the sources of its pool, by weight, each with its EHLO name; a source
// that this machine does not have is passed over, without an attempt.
func TestPolicySources(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	s := sink.New(t, &l)
	var mu sync.Mutex
	from := map[string]int{}
	s.Handle(true, func(m *sink.Mail) {
		mu.Lock()
		defer mu.Unlock()
		host, _, _ := net.SplitHostPort(m.Client)
		from[m.Helo+" "+host]++
		m.Tell(&l)
	})
	i := governed(t, s, `
source "one" {
  address = ["127.0.0.41"]
  ehlo    = "one.test"
}
source "two" {
  address = ["127.0.0.42"]
  ehlo    = "two.test"
}
source "gone" {
  address = ["192.0.2.99"]
  ehlo    = "gone.test"
}
pool "p" { sources = { one = 3, two = 1 } }
pool "q" { sources = { gone = 1, two = 1 } }
rule {
  when = rcpt_domain == "q.test"
  pool = "q"
}
rule { pool = "p" }
`, "smtp_connection_cache_on_demand = no")
	for n := range 16 {
		send(t, i, &l, source.New(fmt.Sprintf("p-%d", n), "a@source.test", 500, fmt.Sprintf("x%d@p.test", n)))
		i.Await("it is delivered", func() bool { return l.Open() == 0 })
	}
	mu.Lock()
	one, two := from["one.test 127.0.0.41"], from["two.test 127.0.0.42"]
	mu.Unlock()
	if one != 12 || two != 4 {
		t.Errorf("from %v, want 12 of one and 4 of two", from)
	}
	for n := range 4 {
		send(t, i, &l, source.New(fmt.Sprintf("q-%d", n), "a@source.test", 500, fmt.Sprintf("x%d@q.test", n)))
	}
	i.Await("all of it leaves from two", func() bool { return l.Open() == 0 })
	i.AwaitLog("source gone: its address is not configured on this machine")
	if n := len(i.Grep("status=deferred")); n != 0 {
		t.Errorf("%d attempts failed", n)
	}
}

// A route gives next hops in order, each perhaps with its address, and a transport.
func TestPolicyRoutes(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	s, other := sink.New(t, &l), sink.New(t, &l)
	_, port, _ := net.SplitHostPort(other.Addr)
	host, _, _ := net.SplitHostPort(other.Addr)
	i := governed(t, s, fmt.Sprintf(`
route "direct" {
  mx_list = [
    { addr = "%s", port = 1 },
    { name = "mx.direct.test", addr = "%s", port = %s },
  ]
}
route "no" { error = "5.7.1 not from here" }
route "hole" { discard = "swallowed" }
rule {
  when  = rcpt_domain == "direct.test"
  route = "direct"
}
rule {
  when  = rcpt_domain == "no.test"
  route = "no"
}
rule {
  when  = rcpt_domain == "hole.test"
  route = "hole"
}
rule { }
`, host, host, port))
	direct := send(t, i, &l, source.New("direct", "a@source.test", 500, "x@direct.test"))
	no := send(t, i, nil, source.New("no", "", 500, "x@no.test"))
	hole := send(t, i, nil, source.New("hole", "", 500, "x@hole.test"))
	i.AwaitLog(direct + `: to=<x@direct\.test>, relay=mx\.direct\.test\[` + strings.ReplaceAll(host, ".", `\.`) + `\]:` + port + `.*status=sent`)
	i.AwaitLog(no + `.*dsn=5\.7\.1, status=bounced`)
	i.AwaitLog(hole + `.*status=sent \(swallowed\)`)
	i.Await("all mail", func() bool { return l.Open() == 0 })
}
