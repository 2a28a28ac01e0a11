package qmgr

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"postrider/lib/mail"
	"postrider/lib/policy"
	"postrider/lib/sched"
	"postrider/lib/schedcf"
)

// TestPolicyProperty: random policies, written in the language, compiled, handed over and
// made into terms as in life, and random mail. By an account of its own, which reads each
// condition in Go, no limit is ever exceeded over any time by more than its burst, no
// queue has more than its slots, and nothing that may start stands still.
func TestPolicyProperty(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			newLaw(t, rand.New(rand.NewPCG(seed, 7))).live()
		})
	}
}

// law is a random policy as the account knows it.
type law struct {
	t *testing.T
	r *rand.Rand

	text   strings.Builder
	queues []lawQueue
	limits []*lawLimit
	rules  []lawRule

	m       manager
	now     sched.Time
	last    sched.MsgID
	waiting []*lawMail // oldest first
	hand    map[sched.EntryID]*lawMail
	starts  int
}

type lawQueue struct{ slots, busy int } // by number; the last is the default

type lawRule struct {
	when  lawCondition
	queue int
}

type lawLimit struct {
	name        string
	keys        []string
	when        lawCondition
	rates       []lawRate
	connections int
	busy        map[string]int
	started     map[string][]sched.Time
	due         map[string][]sched.Time // theoretical arrival times
}

type lawRate struct {
	count, burst int64
	per          time.Duration
}

// lawMail is one message with one recipient.
type lawMail struct {
	id    sched.MsgID
	facts policy.Facts
	queue int
	keys  map[*lawLimit]string
}

type lawCondition struct {
	text string
	is   func(*policy.Facts) bool
}

var lawConditions = []lawCondition{
	{"", func(*policy.Facts) bool { return true }},
	{`rcpt_domain == "d1.test"`, func(f *policy.Facts) bool { return f.RcptDomain == "d1.test" }},
	{`sender_domain != "s0.test" && tenant == "t1"`, func(f *policy.Facts) bool { return f.SenderDomain != "s0.test" && tenantOf(f) == "t1" }},
	{`contains(["d0.test", "d2.test"], rcpt_domain) || size > 1000`, func(f *policy.Facts) bool {
		return f.RcptDomain == "d0.test" || f.RcptDomain == "d2.test" || f.Size > 1000
	}},
	{`!under(rcpt_domain, "test") || startswith(sender, "u1")`, func(f *policy.Facts) bool { return strings.HasPrefix(f.Sender, "u1") }},
	{`tenant != ""`, func(f *policy.Facts) bool { return tenantOf(f) != "" }},
	{`lookup("inline:{d0.test=x, d3.test=y}", rcpt_domain) == "y"`, func(f *policy.Facts) bool { return f.RcptDomain == "d3.test" }},
}

func tenantOf(f *policy.Facts) string {
	if len(f.Headers) == 0 {
		return ""
	}
	return f.Headers[0].Value
}

func valueOf(f *policy.Facts, key string) string {
	switch key {
	case "sender_domain":
		return f.SenderDomain
	case "rcpt_domain":
		return f.RcptDomain
	case "tenant":
		return tenantOf(f)
	}
	return ""
}

// newLaw draws a policy, writes it down, and has it compiled.
func newLaw(t *testing.T, r *rand.Rand) *law {
	l := &law{t: t, r: r, hand: map[sched.EntryID]*lawMail{}}
	say := func(format string, args ...any) { fmt.Fprintf(&l.text, format+"\n", args...) }
	if r.IntN(4) == 0 {
		say("priorities = false")
	}
	if r.IntN(3) == 0 {
		say(`priority_aging = "%ds"`, 1+r.IntN(60))
	}
	say("facts { tenant = header[\"x-tenant\"] }")
	n := 1 + r.IntN(3)
	for i := range n {
		q := lawQueue{slots: r.IntN(5)}
		say("queue \"q%d\" {", i)
		if q.slots > 0 {
			say("  slots = %d", q.slots)
		}
		say("  priority = %q\n  weight = %d\n}", []string{"low", "normal", "high", "critical"}[r.IntN(4)], 1+r.IntN(5))
		l.queues = append(l.queues, q)
	}
	l.queues = append(l.queues, lawQueue{})
	when := func(c lawCondition) {
		if c.text != "" {
			say("  when = %s", c.text)
		}
	}
	for i := range r.IntN(4) {
		b := &lawLimit{name: fmt.Sprint("l", i), when: lawConditions[r.IntN(len(lawConditions))], busy: map[string]int{}, started: map[string][]sched.Time{}, due: map[string][]sched.Time{}}
		for _, k := range []string{"sender_domain", "rcpt_domain", "tenant"} {
			if r.IntN(2) == 0 {
				b.keys = append(b.keys, k)
			}
		}
		say("limit %q {", b.name)
		if b.keys != nil {
			say("  key = [%s]", strings.Join(b.keys, ", "))
		}
		when(b.when)
		if r.IntN(2) == 0 {
			b.connections = 1 + r.IntN(4)
			say("  connections = %d", b.connections)
		}
		burst := int64(1 + r.IntN(4))
		var rates []string
		for range r.IntN(3) {
			x := lawRate{count: 1 + r.Int64N(40), burst: burst, per: []time.Duration{time.Second, time.Minute, time.Hour}[r.IntN(3)]}
			b.rates = append(b.rates, x)
			rates = append(rates, fmt.Sprintf("%q", fmt.Sprintf("%d/%s", x.count, map[time.Duration]string{time.Second: "s", time.Minute: "min", time.Hour: "hr"}[x.per])))
		}
		if rates == nil && b.connections == 0 {
			b.connections = 2
			say("  connections = 2")
		}
		if rates != nil {
			say("  rate = [%s]\n  burst = %d", strings.Join(rates, ", "), burst)
		}
		say("}")
		l.limits = append(l.limits, b)
	}
	for i := range r.IntN(4) {
		x := lawRule{lawConditions[1:][(i*3+r.IntN(3))%(len(lawConditions)-1)], r.IntN(n)}
		say("rule {")
		when(x.when)
		say("  queue = \"q%d\"\n}", x.queue)
		l.rules = append(l.rules, x)
	}
	say("rule { }")
	l.rules = append(l.rules, lawRule{lawConditions[0], len(l.queues) - 1})
	l.compile()
	return l
}

func (l *law) compile() {
	p, problems := schedcf.Read("sched.cf", []byte(l.text.String()), schedcf.Options{})
	if p == nil {
		l.t.Fatalf("%v\n%s", problems, &l.text)
	}
	p, err := policy.Decode(p.Encode())
	if err != nil {
		l.t.Fatal(err)
	}
	l.m.book.policy = p
	// Nothing but the policy bounds anything.
	c := sched.Config{ActiveLimit: 10_000, Transports: map[string]sched.Transport{"smtp": {InitialConcurrency: 10_000}}}
	l.m.queuesOf(p, &c)
	l.m.machine = sched.New(c)
	l.m.machine.TransportUp(0, "smtp")
}

// live plays a life, and then lets all mail go.
func (l *law) live() {
	for range 400 {
		switch l.r.IntN(6) {
		case 0, 1:
			for range 1 + l.r.IntN(5) {
				l.admit()
			}
		case 2, 3:
			l.end()
		case 4:
			l.now += sched.Time(l.r.Int64N(int64(10 * time.Second)))
			l.m.machine.Tick(l.now)
		case 5:
			l.wake()
		}
		l.settle()
	}
	for n := 0; len(l.waiting)+len(l.hand) > 0; n++ {
		if n > 100_000 {
			l.t.Fatalf("%d still wait\n%s", len(l.waiting), &l.text)
		}
		if len(l.hand) > 0 {
			l.end()
		} else if !l.wake() {
			l.t.Fatalf("%d wait and nothing will wake them\n%s", len(l.waiting), &l.text)
		}
		l.settle()
	}
	if l.starts == 0 {
		l.t.Fatal("nothing ever started")
	}
}

func (l *law) admit() {
	r := l.r
	l.last++
	f := policy.Facts{Sender: fmt.Sprintf("u%d@s%d.test", r.IntN(3), r.IntN(2)), Rcpt: fmt.Sprintf("x@d%d.test", r.IntN(4)), Size: r.Int64N(2000), SourceKind: "user", Transport: "smtp"}
	f.SenderDomain, f.RcptDomain = mail.Address(f.Sender).Domain(), mail.Address(f.Rcpt).Domain()
	f.NextHop = f.RcptDomain
	if n := r.IntN(3); n > 0 {
		f.Headers = []policy.Header{{Name: "x-tenant", Value: fmt.Sprint("t", n)}}
	}
	x := &lawMail{id: l.last, facts: f, keys: map[*lawLimit]string{}}
	x.queue = l.rules[slices.IndexFunc(l.rules, func(r lawRule) bool { return r.when.is(&f) })].queue
	for _, b := range l.limits {
		if b.when.is(&f) {
			var key []string
			for _, k := range b.keys {
				key = append(key, valueOf(&f, k))
			}
			x.keys[b] = strings.Join(key, "\n")
		}
	}
	var d policy.Decision
	p := l.m.book.policy
	for need := p.Decide(&f, &d); need != nil; need = p.Decide(&f, &d) {
		v, found := map[string]string{"d0.test": "x", "d3.test": "y"}[need.Keys[0]]
		f.Answers = append(f.Answers, need.Answer(v, found))
	}
	l.m.machine.Admit(l.now, sched.Message{ID: x.id, Recipients: []sched.Recipient{{Transport: "smtp", NextHop: f.NextHop, Terms: l.m.termsFor(&d, 0, f.RcptDomain)}}})
	l.waiting = append(l.waiting, x)
}

// end has a delivery end.
func (l *law) end() {
	ids := make([]sched.EntryID, 0, len(l.hand))
	for id := range l.hand {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return
	}
	slices.Sort(ids)
	id := ids[l.r.IntN(len(ids))]
	x := l.hand[id]
	delete(l.hand, id)
	l.queues[x.queue].busy--
	for b, key := range x.keys {
		b.busy[key]--
	}
	l.m.machine.Result(l.now, id, sched.HopResult{OK: true})
}

// wake goes on to when the machine wants to be woken.
func (l *law) wake() bool {
	at, ok := l.m.machine.WakeAt()
	if ok {
		l.now = max(l.now, at)
		l.m.machine.Tick(l.now)
	}
	return ok
}

// settle takes what the machine starts, each of which must be allowed, and holds that
// nothing is left that might start.
func (l *law) settle() {
	for a, ok := l.m.machine.Next(); ok; a, ok = l.m.machine.Next() {
		if a.Kind != sched.Deliver {
			continue
		}
		i := slices.IndexFunc(l.waiting, func(x *lawMail) bool { return x.id == a.Msg })
		x := l.waiting[i]
		l.waiting = slices.Delete(l.waiting, i, i+1)
		l.hand[a.Entry] = x
		l.start(x)
	}
	for _, x := range l.waiting {
		if l.may(x) {
			l.t.Fatalf("at %v %s to %s of %q waits, and nothing bounds it\n%s", time.Duration(l.now), x.facts.Sender, x.facts.Rcpt, tenantOf(&x.facts), &l.text)
		}
	}
}

// start counts a delivery and holds that it exceeds nothing.
func (l *law) start(x *lawMail) {
	l.starts++
	q := &l.queues[x.queue]
	if q.busy++; q.slots > 0 && q.busy > q.slots {
		l.t.Fatalf("queue q%d has %d of %d slots\n%s", x.queue, q.busy, q.slots, &l.text)
	}
	for b, key := range x.keys {
		if b.busy[key]++; b.connections > 0 && b.busy[key] > b.connections {
			l.t.Fatalf("limit %s of %q has %d connections\n%s", b.name, key, b.busy[key], &l.text)
		}
		b.started[key] = append(b.started[key], l.now)
		all := b.started[key]
		if b.due[key] == nil {
			b.due[key] = make([]sched.Time, len(b.rates))
		}
		for k, rate := range b.rates {
			for i, from := range all {
				most := rate.burst + int64(float64(l.now.Sub(from))/float64(rate.per)*float64(rate.count)+1e-9)
				if n := int64(len(all) - i); n > most {
					l.t.Fatalf("limit %s of %q: %d within %v, at most %d\n%s", b.name, key, n, l.now.Sub(from), most, &l.text)
				}
			}
			b.due[key][k] = max(b.due[key][k], l.now).Add(rate.gap())
		}
	}
}

func (r lawRate) gap() time.Duration {
	return (r.per + time.Duration(r.count) - 1) / time.Duration(r.count)
}

// may says whether a message that waits could start now.
func (l *law) may(x *lawMail) bool {
	if q := &l.queues[x.queue]; q.slots > 0 && q.busy >= q.slots {
		return false
	}
	for b, key := range x.keys {
		if b.connections > 0 && b.busy[key] >= b.connections {
			return false
		}
		for k, rate := range b.rates {
			if due := b.due[key]; due != nil && due[k] > l.now.Add(time.Duration(rate.burst-1)*rate.gap()) {
				return false
			}
		}
	}
	return true
}
