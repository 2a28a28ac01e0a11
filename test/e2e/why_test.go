package e2e

import (
	"regexp"
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// postqueue -w says of every message why it is still here, with figure and setting.
func TestWhy(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	dead, busy, slow := sink.New(t, &l), sink.New(t, &l), sink.New(t, &l)
	dead.Refuse()
	busy.Do(sink.Behaviour{Rcpt: func(string, string) string { return "450 4.2.0 busy" }})
	release := make(chan struct{})
	defer close(release)
	slow.Do(sink.Behaviour{Dot: func(*sink.Mail) string { <-release; return "" }})
	i := instance.Started(t, "minimal_backoff_time = 1000s", "maximal_backoff_time = 4000s", "initial_destination_concurrency = 1",
		"default_destination_concurrency_limit = 1", route("dead.test", dead, "busy.test", busy, "slow.test", slow))

	// says waits until postqueue -w says of the message what matches.
	says := func(id string, patterns ...string) {
		t.Helper()
		var out string
		i.Await(patterns[0], func() bool {
			out = i.Run("postqueue", "-w", id).Stdout // none before qmgr has read of the message
			return regexp.MustCompile(patterns[0]).MatchString(out)
		})
		for _, p := range patterns[1:] {
			if !regexp.MustCompile(p).MatchString(out) {
				t.Errorf("%q is not in\n%s", p, out)
			}
		}
		if !strings.HasPrefix(out, id+"  ") {
			t.Errorf("begins with something else:\n%s", out)
		}
		t.Logf("\n%s", out)
	}
	gone := send(t, i, &l, source.New("dead", "a@source.test", 1000, "x@dead.test", "y@dead.test"))
	says(gone, `deferred, 1 attempt\n`, `(?m)^  x@dead\.test, y@dead\.test \(by smtp to \[127\.0\.0\.1\]:\d+\)$`, `last reply: connect to 127\.0\.0\.1`,
		`waits for its time \(minimal_backoff_time = 1000s, maximal_backoff_time = 4000s\)`,
		`the destination is dead since .* after 1 failure: connect to 127\.0\.0\.1.*; next probe: .*, in 16m\d+s \(minimal_backoff_time = 1000s\)`,
		`next attempt: .*, in 1[67]m\d+s`, `goes back to its sender when an attempt fails after .* \(maximal_queue_lifetime = 5d\)`)
	later := send(t, i, &l, source.New("busy", "a@source.test", 1000, "x@busy.test"))
	says(later, `^\w+  deferred, \d+ bytes, from a@source\.test, arrived .* ago\n`, `last reply: host 127\.0\.0\.1\[127\.0\.0\.1\] said: 450 4\.2\.0 busy`)
	first := send(t, i, &l, source.New("slow-1", "a@source.test", 1000, "x@slow.test"))
	says(first, `in hand: smtp\.0 is delivering it since `)
	i.Await("the dot", func() bool { return slow.Pending() == 1 })
	second := send(t, i, &l, source.New("slow-2", "a@source.test", 1000, "x@slow.test"))
	says(second, `waits for a connection: window 1 of default_destination_concurrency_limit 1, 1 in use\n`)
	third := send(t, i, &l, source.New("slow-3", "a@source.test", 1000, "x@slow.test"))
	says(third, `1 in use, 1 before it\n`)
	i.Must("postsuper", "-h", later)
	says(later, `on hold until an operator releases it: postsuper -H `+later)

	if r := i.Run("postqueue", "-w", gone, "4jX9Q000000zz", later); r.Code != 1 || !strings.Contains(r.Stderr, "4jX9Q000000zz: not in the queue") ||
		strings.Count(r.Stdout, "\n\n") != 1 {
		t.Errorf("%+v", r)
	}
	if out := i.Must("postqueue", "-jw", gone); !strings.Contains(out, `"waits":[{"for":"time"`) || !strings.Contains(out, `{"for":"destination"`) {
		t.Errorf("as JSON: %s", out)
	}
	if out := i.Must("postqueue", "-j"); !regexp.MustCompile(`"recipients": \[\{"address": "x@dead.test", "delay_reason": "connect.*refused", "attempts": 1, "next_attempt": \d{10}, "waits_for": "time"\}`).MatchString(out) {
		t.Errorf("listed: %s", out)
	}
	i.Kill()
	says(gone, `the mail system is down: postrider start`, `deferred, 1 attempt\n    last reply: connect to`)
	says(later, `on hold until`)
}

// postqueue -q is Postfix's qshape.
func TestShape(t *testing.T) {
	t.Parallel()
	far := sink.New(t, nil)
	far.Do(sink.Behaviour{Rcpt: func(string, string) string { return "450 4.2.0 busy" }})
	i := instance.Started(t, "minimal_backoff_time = 1000s", "default_transport = smtp:"+far.NextHop())
	many := []string{"a@Big.test"}
	for n := range 30 {
		many = append(many, strings.Repeat("x", n+1)+"@big.test")
	}
	ids := []string{
		send(t, i, nil, source.New("s1", "a@from.test", 1000, many...)),
		send(t, i, nil, source.New("s2", "b@from.test", 1000, "x@big.test", "x@small.example")),
		send(t, i, nil, source.New("s3", "", 1000, "x@small.example")),
	}
	for _, id := range ids {
		i.AwaitQueue(id, "deferred")
	}
	i.Must("postsuper", "-h", ids[2])
	const head = "                                         T  5 10 20 40 80 160 320 640 1280 1280+\n"
	check := func(want string, args ...string) {
		t.Helper()
		if got := i.Must("postqueue", args...); got != want {
			t.Errorf("%v:\n%s\nwant\n%s", args, got, want)
		}
	}
	all := head +
		"                                  TOTAL 33 33  0  0  0  0   0   0   0    0     0\n" +
		"                               big.test 32 32  0  0  0  0   0   0   0    0     0\n" +
		"                          small.example  1  1  0  0  0  0   0   0   0    0     0\n"
	check(all, "-q")
	check(all, "-q", "deferred")
	check(head+"                                  TOTAL  0  0  0  0  0  0   0   0   0    0     0\n", "-q", "active", "incoming")
	check(head+
		"                                  TOTAL  3  3  0  0  0  0   0   0   0    0     0\n"+
		"                              from.test  2  2  0  0  0  0   0   0   0    0     0\n"+
		"                          MAILER-DAEMON  1  1  0  0  0  0   0   0   0    0     0\n", "-q", "-s", "deferred", "hold")
	if r := i.Run("postqueue", "-q", "nonsense"); r.Code != 64 {
		t.Errorf("%+v", r)
	}
	i.Kill()
	check(all, "-q")
}

// postqueue -s tries what is deferred for a site, also when its destination is dead, and
// nothing else. What it says and how it ends are as in Postfix.
func TestFlushSite(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	one, two := sink.New(t, &l), sink.New(t, &l)
	one.Refuse()
	two.Refuse()
	i := instance.Started(t, "minimal_backoff_time = 1000s", route("one.test", one, "two.test", two))
	many := []string{"x@two.test"}
	for n := range 20 {
		many = append(many, strings.Repeat("x", n+1)+"@one.test")
	}
	ids := []string{
		send(t, i, &l, source.New("one", "a@source.test", 1000, "x@one.test")),
		send(t, i, &l, source.New("two", "a@source.test", 1000, "x@two.test")),
		send(t, i, &l, source.New("both", "a@source.test", 1000, many[1:]...)),
	}
	for _, id := range ids {
		i.AwaitQueue(id, "deferred")
	}
	one.Accept(t)
	two.Accept(t)
	i.Must("postqueue", "-s", "ONE.test")
	i.Await("the mail for one.test", func() bool { return l.Open() == 1 })
	if sessions, _, _ := two.Counts(); sessions > 0 {
		t.Error("the other site was tried")
	}
	ends := func(code int, says string, args ...string) {
		t.Helper()
		if r := i.Run("postqueue", args...); r.Code != code || r.Stderr != says {
			t.Errorf("%v: exit code %d, says %q", args, r.Code, r.Stderr)
		}
	}
	ends(64, "postqueue: fatal: Cannot flush mail queue - invalid destination: \"no such site\"\n", "-s", "no such site")
	ends(64, "postqueue: fatal: Cannot flush queue ID - invalid name: \"../x\"\n", "-i", "../x")
	i.Set("fast_flush_domains = one.test")
	i.Must("master", "reload")
	i.AwaitLog(`master\[\d+\]: reload -- version`)
	i.Await("the new configuration", func() bool { return i.Run("postqueue", "-s", "two.test").Code == 69 })
	ends(69, "postqueue: fatal: Flush service is not configured for destination \"two.test\"\n", "-s", "two.test")
	ends(0, "", "-s", "sub.one.test")
	if err := i.Stop(); err != nil {
		t.Error(err)
	}
	ends(69, "postqueue: fatal: Cannot flush mail queue - mail system is down\n", "-s", "one.test")
}
