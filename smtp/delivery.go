package smtp

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postrider/lib/agent"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/proto"
)

// delivery is one request under way: which recipients are decided, and the last
// reason why the others are not. It goes from server to server; what a server
// refuses for good is decided there, what it refuses for now is tried with the
// next one, and what is left at the end is deferred for the last reason.
type delivery struct {
	ctx context.Context
	c   *client
	env *environment
	st  *settings
	r   *agent.Request
	log maillog.Logger

	out      []proto.RecipientResult
	decided  []bool // by place in r.Recipients
	accepted []bool // by the server that is being talked to
	kept     []bool // refused by it for now
	left     int    // recipients not decided

	at       attempt   // what is being tried
	last     []outcome // why each undecided recipient is; nil while none was refused
	blame    bool      // the last trouble was with the session, not with the message
	complete bool      // a session of this delivery ended properly: the destination lives
	final    bool      // no other server will be tried after this one
	over     bool      // no other server may be tried
	aborted  bool      // the daemon is stopping
	fell     bool      // a session broke under TLS before some recipients had an answer
	absent   bool      // the address of the source is not here: who is left was not tried
	hop      mail.Status

	sender   mail.Address   // as the server hears it
	others   []mail.Address // recipients, when it hears others
	needUTF8 bool
	sessions int // past their handshake, for the current next hop
	tried    []netip.AddrPort
	marks    []bool           // decided, accepted and kept
	line     maillog.Delivery // of the log, the last one
}

// deliveries keeps the memory of those that are over.
var deliveries = sync.Pool{New: func() any { return &delivery{} }}

// attempt is what the log says of the server of an outcome.
type attempt struct {
	relay     string
	uses      int
	connected time.Time
	reports   bool // the server offers DSN
}

type outcome struct {
	status mail.Status
	at     attempt
}

func newDelivery(ctx context.Context, c *client, env *environment, st *settings, r *agent.Request) *delivery {
	n := len(r.Recipients)
	d := deliveries.Get().(*delivery)
	marks := slices.Grow(d.marks[:0], 3*n)[:3*n]
	clear(marks)
	*d = delivery{
		ctx: ctx, c: c, env: env, st: st, r: r, log: *st.log.Session(r.Lane),
		out:   make([]proto.RecipientResult, 0, n),
		marks: marks, decided: marks[:n:n], accepted: marks[n : 2*n : 2*n], kept: marks[2*n:],
		left: n, tried: d.tried[:0],
		hop: mail.Status{Class: mail.Sent},
	}
	return d
}

// run tries everything there is to try, and decides all recipients unless the
// daemon is stopping.
func (d *delivery) run() {
	if err := d.examine(); err != nil {
		d.final = true
		d.fail(agent.ContentStatus, false)
		d.settle()
		return
	}
	if !d.outward() {
		d.final = true
		d.fail(mail.Status{Class: mail.Deferred, DSN: "4.3.0", Text: "address lookup failure"}, false)
		d.settle()
		return
	}
	d.useKept()
	hops := []string{d.r.NextHop}
	for i := 0; i < len(hops) && d.going(); i++ {
		if i == 0 {
			if list := splitHops(hops[0]); len(list) != 1 || len(d.st.fallback) > 0 {
				hops = append(list, d.st.fallback...)
			}
			if len(hops) == 0 {
				break
			}
		} else {
			d.sessions = 0
		}
		d.tryHop(hops[i], i == len(hops)-1, i > 0 && i >= len(hops)-len(d.st.fallback))
	}
	if !d.aborted && !d.absent {
		d.settle()
	}
}

// going says that there is something left to try.
func (d *delivery) going() bool { return d.left > 0 && !d.aborted && !d.over }

// stopping says that waits end because the daemon does.
func (d *delivery) stopping() bool { return d.ctx.Err() != nil || d.c.live.stopped.Load() }

// useKept sends by a session that an earlier delivery to the same next hop left
// over; no name is looked up then.
func (d *delivery) useKept() {
	for d.going() {
		s := d.c.cache.byHop(d.st, d.hopKey())
		if s == nil {
			return
		}
		addr := s.key.addr
		if d.use(s) != dead {
			d.tried = append(d.tried, addr)
			return
		}
	}
}

// tryHop tries the servers of one next hop.
func (d *delivery) tryHop(name string, lastHop, fallback bool) {
	clear(d.kept)
	h, err := d.st.parseHop(name)
	if err != nil {
		d.log.Warnf("bad next hop: %v", err)
		d.at = attempt{}
		d.final = lastHop
		d.fail(mail.Status{Class: mail.Deferred, DSN: "4.3.5", Text: "bad next hop: " + err.Error()}, false)
		return
	}
	p := d.st.tls.policy(h)
	if p.bad != "" {
		d.log.Warnf("TLS policy for %s: %s", name, p.bad)
		d.at = attempt{}
		d.final = lastHop
		d.fail(mail.Status{Class: mail.Deferred, DSN: "4.7.5", Text: "client TLS configuration problem"}, true)
		return
	}
	list, bad, ok := d.env.resolve(d.ctx, d.st, h)
	if d.stopping() {
		d.aborted = true
		return
	}
	if !ok {
		d.at = attempt{}
		d.final = lastHop
		if bad.Class == mail.Bounced && (fallback || name == d.st.relayhost) {
			param := "relayhost"
			if fallback {
				param = "smtp_fallback_relay"
			}
			d.log.Warnf("%s configuration problem: %s", param, bad.Text)
			bad.Class, bad.DSN = mail.Deferred, "4.3.5"
		}
		if bad.Class == mail.Bounced && (!lastHop || d.last != nil) {
			return // another next hop may do, or gave a reason to try again later
		}
		d.fail(bad, true)
		return
	}
	for i := 0; i < len(list) && d.going(); i++ {
		t := list[i]
		if slices.Contains(d.tried, t.addr) {
			continue
		}
		if d.st.sessionLimit > 0 && d.sessions >= d.st.sessionLimit {
			return
		}
		d.final = lastHop && (i == len(list)-1 || d.st.sessionLimit > 0 && d.sessions+1 >= d.st.sessionLimit)
		d.tryServer(t, h, p)
		if len(list) > 1 || !lastHop {
			d.tried = append(d.tried, t.addr)
		}
	}
}

// tryServer tries one address: by kept sessions first, and when they are dead by
// a new one.
func (d *delivery) tryServer(t target, h hop, p *policy) {
	clear(d.kept)
	in, err := d.st.sasl.login(d.r.Sender, t.host, h.text)
	if err != nil {
		d.log.Warnf("%v", err)
		d.at = attempt{}
		d.fail(mail.Status{Class: mail.Deferred, DSN: "4.3.0", Text: "password lookup error for " + t.name()}, true)
		return
	}
	key := serverKey{d.st.service, t.addr, t.unix, p.key, in}
	d.fell = false
	if !d.tryKept(key) {
		if s := d.open(t, h, p, key); s != nil {
			d.use(s)
		}
	}
	if d.fell && d.going() && d.mayGoPlain(p, key) {
		d.log.Event(maillog.Info{Queue: d.r.Queue, Text: "the session with " + t.name() + " broke under TLS: trying it without"})
		clear(d.kept)
		if s := d.open(t, h, plainPolicy, key); s != nil {
			d.use(s)
		}
	}
}

// tryKept tries a server by sessions that were kept. False: none was alive.
func (d *delivery) tryKept(key serverKey) bool {
	for {
		s := d.c.cache.byServer(key)
		if s == nil {
			return false
		}
		if d.use(s) != dead || d.aborted {
			return true
		}
	}
}

// open connects to a server. When that fails it notes why, and returns nil.
func (d *delivery) open(t target, h hop, p *policy, key serverKey) *session {
	s, bad, how := d.c.connect(d.ctx, d.st, t, h, p, key)
	if how == noHandshake && d.mayGoPlain(p, key) {
		d.log.Event(maillog.Info{Queue: d.r.Queue, Text: bad.Text + ": trying " + t.name() + " without TLS"})
		s, bad, how = d.c.connect(d.ctx, d.st, t, h, plainPolicy, key)
	}
	switch {
	case s != nil:
	case how == absent:
		d.log.Warnf("source %s cannot be used: %s", d.st.source, bad.Text)
		d.over, d.absent = true, true
	case d.stopping():
		d.aborted = true
	case how == unreached:
		d.at = attempt{}
		d.log.Infof("%s", bad.Text)
		d.failQuiet(bad, true, true)
	default:
		d.at = attempt{relay: t.relay()}
		d.fail(bad, true)
	}
	return s
}

// plainPolicy is for one more try where TLS does not work.
var plainPolicy = &policy{key: levelNames[levelNone]}

// mayGoPlain says whether TLS may be done without where the handshake failed, or the session
// broke after it. As Postfix: at level may, mail that was deferred before (RFC 7435), and never
// where a password would be shown.
func (d *delivery) mayGoPlain(p *policy, key serverKey) bool {
	return p.level == levelMay && key.login == login{} && d.r.Active.Sub(d.r.Arrival) >= d.st.backoff && !d.stopping()
}

// hopKey is by what a kept session is found before any name is looked up.
func (d *delivery) hopKey() hopKey {
	k := hopKey{service: d.st.service, nextHop: d.r.NextHop}
	if d.st.sasl.bySender {
		k.sender = d.r.Sender
	}
	return k
}

// verdict says in what state a transaction left its session.
type verdict uint8

const (
	usable verdict = iota // for another transaction
	spent                 // done with; it ended, or is out of step
	dead                  // a kept session that had ended before it was used: nothing was tried
)

// use makes one transaction on s and gives s back to the cache or ends it.
func (d *delivery) use(s *session) verdict {
	s.uses++
	d.at = attempt{s.relay, s.uses, s.born, s.has(dsn)}
	whole := false
	defer func() {
		if !whole { // a panic ends the session too
			s.close()
		}
	}()
	v := d.transact(s)
	whole = true
	s.pastDot.Store(false)
	switch v {
	case usable:
		d.sessions++
		d.complete = true
		d.c.cache.put(d.st, s, d.hopKey(), d.r.Keep && !s.insecure)
	case spent:
		d.sessions++
		s.close()
	case dead:
		s.close()
	}
	return v
}

// fail is trouble that concerns all recipients which are not decided. Refused for
// good, they are decided; else the next server is tried, if there is one. blame
// says that it was the session that failed and not this message.
func (d *delivery) fail(s mail.Status, blame bool) { d.failQuiet(s, blame, false) }

func (d *delivery) failQuiet(s mail.Status, blame, quiet bool) {
	if d.aborted || d.left == 0 {
		return
	}
	d.blame = blame
	if s.Class != mail.Deferred {
		for i := range d.decided {
			if !d.decided[i] && !d.kept[i] {
				d.decide(i, s, d.at)
			}
		}
		return
	}
	if !d.final && !quiet {
		d.log.Event(maillog.Info{Queue: d.r.Queue, Text: s.Text})
	}
	for i := range d.decided {
		if !d.decided[i] && !d.kept[i] {
			d.keep(i, s)
		}
	}
}

// failOne is trouble with one recipient.
func (d *delivery) failOne(i int, s mail.Status) {
	d.blame = false
	if s.Class != mail.Deferred {
		d.decide(i, s, d.at)
		return
	}
	if !d.final {
		d.log.Event(maillog.Info{Queue: d.r.Queue, Text: s.Text})
	}
	d.keep(i, s)
}

func (d *delivery) keep(i int, s mail.Status) {
	if d.last == nil {
		d.last = make([]outcome, len(d.decided))
	}
	d.last[i] = outcome{s, d.at}
	d.kept[i] = true
}

// settle decides what no server took: by the last reason there was.
func (d *delivery) settle() {
	if d.left == 0 {
		return
	}
	none := outcome{status: mail.Status{DSN: "4.4.4", Text: "no server to try for " + d.r.NextHop}}
	for i := range d.decided {
		if d.decided[i] {
			continue
		}
		o := none
		if d.last != nil && d.last[i].status.DSN != "" {
			o = d.last[i]
		}
		if d.blame && !d.complete {
			d.hop = o.status
		}
		d.decide(i, o.status, o.at)
	}
}

// decide is the outcome for one recipient.
func (d *delivery) decide(i int, s mail.Status, at attempt) {
	rcpt := &d.r.Recipients[i]
	d.decided[i] = true
	d.left--
	d.out = append(d.out, proto.RecipientResult{Index: rcpt.Index, Reports: at.reports, Status: s})
	d.line = maillog.Delivery{
		Queue: d.r.Queue, To: rcpt.Address, OrigTo: rcpt.Original, Relay: at.relay, ConnUse: at.uses,
		Arrival: d.r.Arrival, Active: d.r.Active, Handed: d.r.Handed, Connected: at.connected, Status: s, Verify: d.r.Verify,
	}
	d.log.Event(&d.line)
}

func (d *delivery) result() proto.Result {
	return proto.Result{Hop: d.hop, Recipients: d.out, Absent: d.absent}
}
