package sched

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"postrider/lib/mail"
)

// Snapshot is what a Machine has learned and a restart should not forget:
// windows with their credits, the dead, who is proven, and the rates and limits under way.
// It knows nothing of mail. Encode and DecodeSnapshot are its form on disk.
type Snapshot struct {
	Taken        Time
	Transports   []TransportState   // those that are paced
	Destinations []DestinationState // at most as many as are remembered; the most used first, then the last used
	Limits       []LimitState       // those whose rates remember something, in no order
}

// TransportState is what a Snapshot holds of a transport.
type TransportState struct {
	Name string        `json:"transport"`
	Next time.Duration `json:"next"` // until the next start, from Taken
}

// LimitState is what a Snapshot holds of a limit with its key.
type LimitState struct {
	Name string          `json:"limit"`
	Key  string          `json:"key,omitempty"`
	Due  []time.Duration `json:"due"` // by rate: until the theoretical arrival time of the next, from Taken
}

// DestinationState is what a Snapshot holds of a destination. Times count from
// Taken.
type DestinationState struct {
	Transport string        `json:"transport"`
	Key       string        `json:"destination"`
	Source    string        `json:"source,omitempty"` // that Key is of
	Window    int           `json:"window"`
	Success   float64       `json:"success,omitempty"` // credit towards the next step of the window
	Failure   float64       `json:"failure,omitempty"`
	Cohorts   float64       `json:"cohorts,omitempty"`
	Proven    time.Duration `json:"proven,omitempty"`   // left of its proof
	Failing   time.Duration `json:"failing,omitempty"`  // left of the memory of its failure
	Dead      time.Duration `json:"dead,omitempty"`     // until its probe
	Rest      time.Duration `json:"rest,omitempty"`     // left of its rest
	Died      time.Duration `json:"died,omitempty"`     // how long before Taken it was found dead first, and a nanosecond; 0: never
	Failures  int           `json:"failures,omitempty"` // without a success since
	Reason    *mail.Status  `json:"reason,omitempty"`   // when Dead
}

// Bounds of a state; what is longer is left out, or cut.
const (
	maxKey  = 1000
	maxText = 500
)

// Changes counts what would make a new Snapshot tell something else than the one
// before. While it stands still none needs to be taken.
func (m *Machine) Changes() uint64 { return m.changes }

// Snapshot takes one. Like every event it may let something start.
func (m *Machine) Snapshot(now Time) Snapshot {
	m.advance(now)
	s := Snapshot{Taken: m.now}
	var used []*dest
	for _, name := range slices.Sorted(maps.Keys(m.transports)) {
		t := m.transports[name]
		if t.paced && t.next > m.now {
			s.Transports = append(s.Transports, TransportState{Name: name, Next: t.next.Sub(m.now)})
		}
		for _, d := range t.dests {
			if d.idle.in == nil {
				used = append(used, d)
			}
		}
	}
	slices.SortFunc(used, func(a, b *dest) int {
		return cmp.Or(cmp.Compare(b.todo+b.busy, a.todo+a.busy), cmp.Compare(a.trans.name, b.trans.name), cmp.Compare(a.key, b.key))
	})
	for _, d := range used {
		m.add(&s, d)
	}
	for x := m.idle.last; x != nil; x = x.prev {
		m.add(&s, x.of)
	}
	dues := make([]time.Duration, 0, len(m.limits)) // of most limits: they have one rate
	s.Limits = make([]LimitState, 0, len(m.limits))
	for _, l := range m.limits {
		if !l.rested(m.now) && len(l.key) <= maxKey && utf8.ValidString(l.key) {
			state := LimitState{Name: l.rule.name, Key: l.key}
			from := len(dues)
			for _, due := range l.due {
				dues = append(dues, max(due.Sub(m.now), 0))
			}
			state.Due = dues[from:len(dues):len(dues)]
			s.Limits = append(s.Limits, state)
		}
	}
	return s
}

// add puts d into s if there is anything to say of it, and room.
func (m *Machine) add(s *Snapshot, d *dest) {
	m.expire(d)
	if len(s.Destinations) >= m.keep || d.plain() && !d.resting || len(d.key) > maxKey || !utf8.ValidString(d.key) {
		return
	}
	state := DestinationState{Transport: d.trans.name, Key: d.key, Source: d.source, Window: d.window,
		Success: d.success, Failure: d.failure, Cohorts: d.cohorts, Failures: d.failures}
	if d.died != 0 {
		state.Died = m.now.Sub(d.died) + 1
	}
	switch d.rank {
	case proven:
		state.Proven = d.until.Sub(m.now)
	case failing:
		state.Failing = d.until.Sub(m.now)
	}
	if d.resting && d.rested > m.now {
		state.Rest = d.rested.Sub(m.now)
	}
	if d.dead {
		state.Dead = d.revival.Sub(m.now)
		state.Reason = &mail.Status{DSN: cut(d.reason.DSN), Text: cut(d.reason.Text),
			RemoteMTA: cut(d.reason.RemoteMTA), Diag: cut(d.reason.Diag)}
	}
	s.Destinations = append(s.Destinations, state)
}

// cut bounds a text that a peer chose.
func cut(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxText)], "?")
}

// Restore is the event that a Machine remembers what another learned before a
// restart. The time between counts. What this Machine knows already it keeps,
// what belongs to no transport is dropped, windows obey the limits, and nothing
// lasts longer than the present configuration says, so that a damaged snapshot
// or a clock that was set does no lasting harm.
func (m *Machine) Restore(now Time, s Snapshot) {
	m.advance(now)
	gone := max(m.now.Sub(s.Taken), 0)
	left := func(d, most time.Duration) time.Duration { return max(min(d, most)-gone, 0) }
	for _, state := range s.Transports {
		if t := m.transports[state.Name]; t != nil && !t.paced {
			t.paced, t.next = true, m.now.Add(left(state.Next, t.TransportRateDelay))
			m.watchTransport(t)
			m.settle(t)
		}
	}
	m.restoreLimits(s.Limits, gone)
	known := s.Destinations[:min(len(s.Destinations), m.keep)]
	for _, state := range slices.Backward(known) { // the first is the last to be forgotten
		t := m.transports[state.Transport]
		if t == nil || t.state == unknown || t.dests[state.Key] != nil {
			continue
		}
		d := newDest(t, state.Key, "") // its mail says the next hop
		d.source = state.Source
		d.window = t.clamp(max(state.Window, 1))
		d.success, d.failure, d.cohorts, d.failures = state.Success, state.Failure, state.Cohorts, state.Failures
		if state.Died > 0 {
			d.died = max(s.Taken+1-Time(state.Died), 1)
		}
		if p, f := left(state.Proven, memory), left(state.Failing, memory); p > 0 {
			d.rank, d.until = proven, m.now.Add(p)
		} else if f > 0 {
			d.rank, d.until = failing, m.now.Add(f)
		}
		d.resting, d.rested = state.Rest > 0, m.now.Add(left(state.Rest, t.DestinationRateDelay))
		if state.Dead > 0 {
			m.restoreDead(d, left(state.Dead, m.cfg.Retry.MinBackoff), state.Reason)
		}
		m.watch(d)
		m.rest(d)
	}
}

// restoreLimits takes what the limits remember. Nothing lasts longer than the rates say.
func (m *Machine) restoreLimits(states []LimitState, gone time.Duration) {
	for _, state := range states {
		l := m.limit(LimitKey{state.Name, state.Key})
		if l == nil {
			continue
		}
		for i := range min(len(l.due), len(state.Due)) {
			l.due[i] = max(l.due[i], m.now.Add(state.Due[i]-gone))
		}
		l.fit(m.now)
		m.refer(l, 0)
	}
}

// restoreDead makes d dead for what is left of its time, or gives it its probe.
func (m *Machine) restoreDead(d *dest, left time.Duration, reason *mail.Status) {
	if left == 0 {
		d.window, d.success, d.failure, d.cohorts = 1, 0, 0, 0
		return
	}
	d.dead, d.remembered, d.revival = true, true, m.now.Add(left)
	if reason != nil {
		d.reason = *reason
	}
	d.reason.Class = mail.Deferred
}
