package sched

import (
	"cmp"
	"maps"
	"slices"
)

// terms is a set of limits and a window that some mail is under, once for all that is.
type terms struct {
	m      *Machine
	key    string // "" when it is kept at its only limit
	limits []*limit
	window *window
	refs   int // flows
}

// on returns the set of what t names, nil when that is nothing. It is kept once a flow
// refers to it.
func (m *Machine) on(t *Terms) *terms {
	if t == nil || len(t.Limits) == 0 && t.Window == "" {
		return nil
	}
	if len(t.Limits) == 1 && t.Window == "" {
		l := m.limit(t.Limits[0])
		if l == nil {
			return nil
		}
		if l.alone == nil {
			l.alone = &terms{m: m, limits: []*limit{l}}
		}
		return l.alone
	}
	key := t.key()
	if s := m.terms[key]; s != nil {
		return s
	}
	s := &terms{m: m, key: key, window: m.windows[t.Window]}
	for _, k := range t.Limits {
		if l := m.limit(k); l != nil && !slices.Contains(s.limits, l) {
			s.limits = append(s.limits, l)
			l.refs++ // so that the next one does not take its place
		}
	}
	for _, l := range s.limits {
		l.refs--
	}
	return s
}

// name tells s apart from all others.
func (s *terms) name() string {
	switch {
	case s == nil:
		return ""
	case s.key != "":
		return s.key
	}
	l := s.limits[0]
	return (&Terms{Limits: []LimitKey{{l.rule.name, l.key}}}).key()
}

// look is on for mail that is not there yet: nil when nothing is known of its limits.
func (m *Machine) look(t *Terms) (s *terms, known bool) {
	if t == nil || len(t.Limits) == 0 && t.Window == "" {
		return nil, true
	}
	if len(t.Limits) == 1 && t.Window == "" {
		r := m.rules[t.Limits[0].Limit]
		if r == nil || r.gone {
			return nil, true
		}
		if l := m.limits[keyOf{r, t.Limits[0].Key}]; l != nil && l.alone != nil {
			return l.alone, true
		}
		return nil, false
	}
	s = m.terms[t.key()]
	return s, s != nil
}

// refer counts a flow under s.
func (s *terms) refer(n int) {
	if s.refs += n; n > 0 && s.refs == 1 {
		if s.key != "" {
			s.m.terms[s.key] = s
		}
		for _, l := range s.limits {
			s.m.refer(l, 1)
		}
	}
}

// release counts a flow under s that is gone.
func (m *Machine) release(s *terms) {
	if s.refer(-1); s.refs > 0 {
		return
	}
	if s.key != "" {
		delete(m.terms, s.key)
	}
	for _, l := range s.limits {
		m.refer(l, -1)
	}
}

// charge counts a delivery under s that starts.
func (s *terms) charge(e *entry) {
	if s == nil {
		return
	}
	m := s.m
	m.changed()
	m.starts++
	e.start = m.starts
	for _, l := range s.limits {
		l.charge(m.now, e.start)
	}
}

// ended counts one that ended. One that was not made after all counts for no rate.
func (m *Machine) ended(e *entry, made bool) {
	s := e.flow.terms
	if s == nil {
		return
	}
	for _, l := range s.limits {
		if l.busy--; !made {
			l.uncharge(e.start)
		}
	}
	for _, l := range s.limits {
		m.wakeLimit(l)
	}
}

// tightest returns the limit that has no room and frees last, and when; nil when all have
// room. One of connections counts only when no rate is in the way: when it frees is not
// known.
func (s *terms) tightest(now Time) (worst *limit, until Time) {
	if s == nil {
		return nil, 0
	}
	for _, l := range s.limits {
		if n, at := l.room(now); n == 0 && (worst == nil || at > until) {
			worst, until = l, at
		}
	}
	return worst, until
}

// sorted returns the limits in a certain order.
func sorted(all map[keyOf]*limit) []*limit {
	return slices.SortedFunc(maps.Values(all), func(a, b *limit) int {
		return cmp.Or(cmp.Compare(a.rule.name, b.rule.name), cmp.Compare(a.key, b.key))
	})
}
