package e2e

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

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

// A source has an address of each family: by IPv6 mail leaves from that.
func TestPolicySourceIPv6(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	s := sink.At(t, "[::1]:0", &l)
	i := governed(t, s, `
source "both" {
  address = ["127.0.0.43", "::1"]
  ehlo    = "both.test"
}
source "gone" { address = ["2001:db8::99"] }
pool "p" { sources = { both = 1, gone = 1 } }
rule { pool = "p" }
`, "inet_protocols = all")
	for n := range 4 {
		send(t, i, &l, source.New(fmt.Sprintf("six-%d", n), "a@source.test", 500, fmt.Sprintf("x%d@six.test", n)))
	}
	i.Await("all mail", func() bool { return l.Open() == 0 })
	for _, m := range s.Mails() {
		if m.Helo != "both.test" || !strings.HasPrefix(m.Client, "[::1]:") {
			t.Errorf("from %s, %s", m.Helo, m.Client)
		}
	}
}

// By LMTP each recipient domain has ten deliveries at once.
func TestPolicyLMTP(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	s, store := sink.New(t, nil), sink.New(t, &l)
	open := gate(store, func(string) bool { return true })
	defer open()
	i := instance.New(t, "relayhost = "+s.NextHop(), "lmtp_initial_destination_concurrency = 50", "lmtp_destination_concurrency_limit = 50")
	i.AddService("lmtp unix - - n - - lmtp")
	i.WriteFile("conf/sched.cf", fmt.Sprintf(`
route "store" {
  protocol = "lmtp"
  mx_list  = ["%s"]
}
rule { route = "store" }
`, store.Addr))
	i.Start()
	var last string
	for n := range 13 {
		last = send(t, i, &l, source.New(fmt.Sprintf("one-%d", n), "a@source.test", 500, fmt.Sprintf("x%d@one.test", n), fmt.Sprintf("y%d@one.test", n)))
	}
	i.Await("ten are in hand", func() bool { return store.Pending() == 10 })
	for n := range 2 {
		send(t, i, &l, source.New(fmt.Sprintf("two-%d", n), "a@source.test", 500, fmt.Sprintf("x%d@two.test", n)))
	}
	i.Await("those of another domain too", func() bool { return store.Pending() == 12 })
	if why := i.Must("postqueue", "-w", last); !strings.Contains(why, `waits for route "store" of one.test: 10 of 10 connections in use`) {
		t.Errorf("why: %s", why)
	}
	open()
	i.Await("all mail", func() bool { return l.Open() == 0 })
	i.AwaitLog(last + `: to=<y12@one\.test>, relay=` + strings.ReplaceAll(host(store), ".", `\.`) + `.*status=sent`)
}

// host is the address of a sink without its port.
func host(s *sink.Sink) string {
	h, _, _ := net.SplitHostPort(s.Addr)
	return h
}

// A route leads into a maildir, whose path has parts of the address. What cannot be written
// is tried again after a minute, whatever the schedule says.
func TestPolicyMaildir(t *testing.T) {
	t.Parallel()
	i := instance.New(t, "minimal_backoff_time = 1h", "maximal_backoff_time = 2h", "recipient_delimiter = +")
	i.WriteFile("conf/sched.cf", fmt.Sprintf(`
route "store" { maildir = "%s/$domain/$user" }
rule { route = "store" }
`, i.Mail))
	i.Start()
	id := send(t, i, nil, source.New("stored", "a@source.test", 500, "Bob+list@Store.test", "eve@store.test"))
	i.AwaitLog(id + `: to=<Bob\+list@Store\.test>, relay=local, .*status=sent \(delivered to maildir\)`)
	i.AwaitLog(id + ": removed")
	for _, name := range []string{"bob", "eve"} {
		if n := len(i.Maildir("store.test/" + name)); n != 1 {
			t.Errorf("%s has %d messages", name, n)
		}
	}
	out := send(t, i, nil, source.New("out", "", 500, `"../../bob"@store.test`))
	i.AwaitLog(out + `.*dsn=5\.1\.3, status=bounced`)

	shut := i.WriteFile("mail/shut.test", "no directory")
	late := send(t, i, nil, source.New("late", "a@source.test", 500, "bob@shut.test"))
	i.AwaitLog(late + `: to=<bob@shut\.test>, relay=local, .*status=deferred \(maildir delivery failed: `)
	i.AwaitQueue(late, "deferred")
	if why := i.Must("postqueue", "-w", late); !regexp.MustCompile(`next attempt: .*, in (1m0s|\d\ds)\n`).MatchString(why) {
		t.Errorf("why: %s", why)
	}
	if err := os.Remove(shut); err != nil {
		t.Fatal(err)
	}
	i.Must("postqueue", "-i", late)
	i.AwaitLog(late + ": removed")
	if n := len(i.Maildir("shut.test/bob")); n != 1 {
		t.Errorf("%d messages", n)
	}
}
