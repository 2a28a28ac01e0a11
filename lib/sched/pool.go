package sched

import "time"

// Member is an egress source in a pool.
type Member struct {
	Source string
	Weight int    // at least 1
	Limit  string // a name of Config.Limits with one key for all, that bounds the source; or ""
}

// pool is the sources that take turns for some mail.
type pool struct {
	members []member
}

type member struct {
	Member
	credit int
}

// source is what is known of an egress source.
type source struct {
	down Time // it cannot be used before; 0: it can
}

// setSources takes the pools of a new configuration. Credits of pools that stay are kept.
func (m *Machine) setSources() {
	pools := map[string]*pool{}
	for name, list := range m.cfg.Pools {
		p := &pool{}
		for _, in := range list {
			x := member{Member: in}
			if old := m.pools[name]; old != nil {
				for i := range old.members {
					if old.members[i].Source == in.Source {
						x.credit = old.members[i].credit
					}
				}
			}
			p.members = append(p.members, x)
			if m.sources[in.Source] == nil {
				m.sources[in.Source] = &source{}
			}
		}
		pools[name] = p
	}
	m.pools = pools
}

// Choose returns the source from which mail for r is to leave next, "" for a pool that is
// not there. The sources of a pool take turns by weight, and smoothly: each choice gives
// every source its weight as credit, and takes from the one that has the most the sum of
// all (interleaved weighted round robin, as in nginx). One that is full, dead for this
// destination or not usable is passed over while another can take the mail.
func (m *Machine) Choose(name string, r Recipient) string {
	p := m.pools[name]
	if p == nil {
		return ""
	}
	if len(p.members) == 1 {
		return p.members[0].Source
	}
	least := worst
	for i := range p.members {
		least = min(least, m.state(&p.members[i], r))
	}
	var best *member
	sum := 0
	for i := range p.members {
		x := &p.members[i]
		if m.state(x, r) != least {
			continue
		}
		x.credit += max(x.Weight, 1)
		sum += max(x.Weight, 1)
		if best == nil || x.credit > best.credit {
			best = x
		}
	}
	best.credit -= sum
	return best.Source
}

// How well a source can take mail for a destination.
const (
	free  = iota
	busy  // its destination, or it, has as much as it may
	dying // the destination is dead for it
	worst // it cannot be used
)

func (m *Machine) state(x *member, r Recipient) int {
	if s := m.sources[x.Source]; s != nil && s.down > m.now {
		return worst
	}
	if t := m.transports[r.Transport]; t != nil {
		r.Source = x.Source
		if d := t.dests[t.key(&r)]; d != nil && d.dead {
			return dying
		} else if d != nil && d.busy+d.todo >= d.window {
			return busy
		}
	}
	if rule := m.rules[x.Limit]; rule != nil {
		if l := m.limits[keyOf{rule, ""}]; l != nil {
			if n, _ := l.room(m.now); n == 0 || l.waiting.n > 0 {
				return busy
			}
		}
	}
	return free
}

// sourceRest is how long a source is left alone that this machine does not have.
const sourceRest = time.Minute

// SourceDown is the event that a source cannot be used: its address is not configured on
// this machine. Choose passes it over for a minute.
func (m *Machine) SourceDown(now Time, name string) {
	m.advance(now)
	if s := m.sources[name]; s != nil {
		s.down = m.now.Add(sourceRest)
	}
}

// SourceUsable says whether any source of a pool can be used now, and else when one may.
func (m *Machine) SourceUsable(now Time, name string) (bool, Time) {
	m.advance(now)
	p := m.pools[name]
	if p == nil {
		return true, 0
	}
	first := Time(0)
	for i := range p.members {
		s := m.sources[p.members[i].Source]
		if s == nil || s.down <= m.now {
			return true, 0
		}
		if first == 0 || s.down < first {
			first = s.down
		}
	}
	return first == 0, first
}
