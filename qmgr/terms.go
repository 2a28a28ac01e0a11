package qmgr

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"

	"postrider/lib/address"
	"postrider/lib/mail"
	"postrider/lib/policy"
	"postrider/lib/proto"
	"postrider/lib/sched"
)

// What a policy decides (decide.go) becomes here what lib/sched goes by: terms, a source, a
// route. lib/sched knows no policy: queues and limits come to it by name, and keys as text.

// course is what the policy says of one recipient.
type course struct {
	schedule, queue uint16 // in the policy's lists
}

// Names of limits as operators see them.
func limitName(l *policy.Limit) string   { return `limit "` + l.Name + `"` }
func sourceName(s *policy.Source) string { return `source "` + s.Name + `"` }
func routeName(r *policy.Route) string   { return `route "` + r.Name + `"` }

// configure gives the scheduler what main.cf and the policy say, with these transports.
func (m *manager) configure(transports map[string]sched.Transport) {
	c := m.set.sched
	c.Transports = transports
	m.plans = nil
	if p := m.book.policy; p != nil {
		m.queuesOf(p, &c)
		for i := range p.Schedules {
			m.plans = append(m.plans, m.scheduleOf(&p.Schedules[i]))
		}
	}
	m.machine.SetConfig(m.now(), c)
}

// queuesOf adds what p declares to c.
func (m *manager) queuesOf(p *policy.Policy, c *sched.Config) {
	c.Queues, c.Limits = map[string]sched.Queue{}, map[string]sched.Limit{}
	c.Windows, c.Pools = map[string]sched.Window{}, map[string][]sched.Member{}
	c.NoPriorities, c.Aging = !p.Priorities, p.Aging
	for i := range p.Queues {
		q := &p.Queues[i]
		c.Queues[q.Name] = sched.Queue{Slots: q.Slots, Weight: q.Weight, Share: q.Share}
	}
	for i := range p.Limits {
		l := &p.Limits[i]
		b := sched.Limit{Connections: l.Connections}
		for _, r := range l.Rates {
			b.Rates = append(b.Rates, sched.Rate(r))
		}
		c.Limits[limitName(l)] = b
	}
	for i := range p.Sources {
		if s := &p.Sources[i]; s.Connections > 0 {
			c.Limits[sourceName(s)] = sched.Limit{Connections: s.Connections}
		}
	}
	for i := range p.Routes {
		if r := &p.Routes[i]; r.Connections > 0 {
			c.Limits[routeName(r)] = sched.Limit{Connections: r.Connections}
		}
	}
	for i := range p.Windows[1:] {
		w := &p.Windows[i+1]
		c.Windows[w.Name] = m.window(w)
	}
	for i := range p.Pools[1:] {
		pool := &p.Pools[i+1]
		for _, in := range pool.Members {
			s := &p.Sources[in.Source]
			x := sched.Member{Source: s.Name, Weight: in.Weight}
			if s.Connections > 0 {
				x.Limit = sourceName(s)
			}
			c.Pools[pool.Name] = append(c.Pools[pool.Name], x)
		}
	}
}

// window is w by the clock of the spool. It is looked at anew each minute, on which
// windows change.
func (m *manager) window(w *policy.Window) sched.Window {
	return func(at sched.Time) (bool, sched.Time) {
		moment := time.Unix(0, int64(at))
		wall := m.spool.Wall(moment)
		offset := wall.Sub(moment)
		if w.Open(wall) {
			return true, stime(wall.Truncate(time.Minute).Add(time.Minute - offset))
		}
		return false, stime(w.Next(wall).Add(-offset))
	}
}

// termsOf keeps the terms that were decided lately, once for all mail that is under them.
type termsOf struct {
	known map[string]*sched.Terms
	key   []byte

	queues []string // names
}

// termsMax bounds them.
const termsMax = 20_000

// termsFor returns the terms of a decision, nil for those of a system without a policy.
// source is the index of the egress source, or 0.
func (m *manager) termsFor(d *policy.Decision, source int, domain string) *sched.Terms {
	p := m.book.policy
	level := levels[d.Level]
	if r := &p.Routes[d.Route]; r.Connections == 0 {
		domain = ""
	}
	if d.Queue == 0 && level == sched.Normal && d.Window == 0 && len(d.Limits) == 0 && domain == "" && p.Sources[source].Connections == 0 {
		return nil
	}
	k := append(m.terms.key[:0], byte(level))
	for _, n := range [...]int{d.Queue, d.Window, source, d.Route} {
		k = binary.AppendUvarint(k, uint64(n))
	}
	k = append(append(k, domain...), 0)
	for _, l := range d.Limits {
		k = append(append(binary.AppendUvarint(k, uint64(l.Limit)), l.Key...), 1)
	}
	m.terms.key = k
	if t := m.terms.known[string(k)]; t != nil {
		return t
	}
	t := &sched.Terms{Queue: p.Queues[d.Queue].Name, Level: level}
	if d.Window != 0 {
		t.Window = p.Windows[d.Window].Name
	}
	for _, l := range d.Limits {
		key := sched.LimitKey{Limit: limitName(&p.Limits[l.Limit]), Key: strings.Clone(l.Key)} // it is remembered, its message is not
		if p.Limits[l.Limit].PerSource && source != 0 {
			key.Key += "\x00" + p.Sources[source].Name
		}
		t.Limits = append(t.Limits, key)
	}
	if s := &p.Sources[source]; s.Connections > 0 {
		t.Limits = append(t.Limits, sched.LimitKey{Limit: sourceName(s)})
	}
	if domain != "" {
		t.Limits = append(t.Limits, sched.LimitKey{Limit: routeName(&p.Routes[d.Route]), Key: domain})
	}
	if m.terms.known == nil || len(m.terms.known) >= termsMax {
		m.terms.known = map[string]*sched.Terms{}
	}
	m.terms.known[string(k)] = t
	return t
}

var levels = [...]sched.Level{policy.NoLevel: sched.Normal, policy.Low: sched.Low, policy.Normal: sched.Normal,
	policy.High: sched.High, policy.Critical: sched.Critical}

// steered is what the policy makes of where main.cf leads a recipient: another way, terms,
// and the source it leaves from. A status is its fate without an agent.
func (m *manager) steered(msg *message, n uint32, route address.Route, to sched.Recipient) (sched.Recipient, *mail.Status) {
	p := m.book.policy
	d, status := m.decide(msg, n, &route)
	if status != nil {
		return to, status
	}
	m.readTimes(msg)
	msg.rcpts[n].course = course{uint16(d.Schedule), uint16(d.Queue)}
	if r := &p.Routes[d.Route]; r.Kind != policy.RouteDefault {
		if st := m.divert(r, &to); st != nil {
			return to, st
		}
	}
	source := 0
	if d.Pool != 0 {
		if ok, _ := m.machine.SourceUsable(m.now(), p.Pools[d.Pool].Name); !ok {
			return to, &sourceless
		}
		source = m.source(msg, d.Pool, &to)
	}
	to.Terms = m.termsFor(d, source, m.domainOf(msg, n))
	return m.atOnce(to)
}

// sourceless is the status of a recipient for whom this machine has no source.
var sourceless = mail.Status{Class: mail.Deferred, DSN: "4.3.5", Text: "no source of its pool is configured on this machine"}

// sourceGone leaves a source alone whose address is not configured on this machine: what
// waits for it leaves from another of its pool.
func (m *manager) sourceGone(name string) {
	m.log.Warnf("source %s: its address is not configured on this machine; it is left alone for a minute", name)
	m.machine.SourceDown(m.now(), name)
	for _, id := range slices.Sorted(maps.Keys(m.active)) {
		msg := m.active[id]
		again := m.machine.Reroute(m.now(), id, func(to sched.Recipient, _ []uint32) bool { return to.Source != name })
		if again != nil {
			msg.left = sched.Recipient{}
			m.reschedule(msg, again)
		}
	}
}

// unready says whether a status says that a recipient is to wait for what the policy needs,
// and has it do so.
func (m *manager) unready(msg *message, n uint32, status *mail.Status) bool {
	switch status {
	case factsMissing: // its next pass waits for them
		msg.rcpts[n].state, msg.rcpts[n].due = deferred, m.now()
	case &sourceless:
		m.postpone(msg, n, m.now().Add(time.Minute), *status)
		msg.rcpts[n].mayFail = true
	default:
		return false
	}
	return true
}

func (m *manager) domainOf(msg *message, n uint32) string {
	return strings.ToLower(msg.Envelope.Recipients[n].Address.Domain())
}

// divert leads mail along a route of the policy.
func (m *manager) divert(r *policy.Route, to *sched.Recipient) *mail.Status {
	switch r.Kind {
	case policy.RouteError, policy.RouteDiscard:
		st := r.Status
		return &st
	case policy.RouteMaildir:
		to.NextHop = proto.MaildirHop + r.Path
	default:
		to.NextHop, to.User = hopsOf(r), ""
	}
	to.Transport = r.Service()
	return nil
}

// hopsOf writes the hops of a route as smtp and lmtp read a next hop.
func hopsOf(r *policy.Route) string {
	var list []string
	for i := range r.Hops {
		list = append(list, hopText(&r.Hops[i]))
	}
	return strings.Join(list, ", ")
}

// source chooses the source that a message leaves from, for all its recipients at one
// destination the same, and for what was parked the one it waited for.
func (m *manager) source(msg *message, pool int, to *sched.Recipient) int {
	p := m.book.policy
	if last := &msg.left; last.Source != "" && last.Transport == to.Transport && last.NextHop == to.NextHop && last.User == to.User && msg.pool == pool {
		to.Source = last.Source
	} else if name := msg.from.Source; name != "" && m.inPool(pool, name) {
		to.Source = name
	} else {
		to.Source = m.machine.Choose(p.Pools[pool].Name, *to)
	}
	msg.left, msg.pool = *to, pool
	for _, in := range p.Pools[pool].Members {
		if p.Sources[in.Source].Name == to.Source {
			return in.Source
		}
	}
	return 0
}

func (m *manager) inPool(pool int, source string) bool {
	for _, in := range m.book.policy.Pools[pool].Members {
		if m.book.policy.Sources[in.Source].Name == source {
			return true
		}
	}
	return false
}

// sourceOf is a source as an agent is told of it.
func (m *manager) sourceOf(name string) proto.Source {
	out := proto.Source{Name: name}
	if m.book.policy == nil {
		return out
	}
	for i := range m.book.policy.Sources {
		s := &m.book.policy.Sources[i]
		if s.Name != name {
			continue
		}
		out.EHLO = s.EHLO
		for _, a := range s.Addresses {
			if a.Is4() {
				out.Addr4 = a.String()
			} else {
				out.Addr6 = a.String()
			}
		}
	}
	return out
}
