package sched

import "time"

// Limits. A limit bounds all mail that shares its key: by rates, each held by the Generic
// Cell Rate Algorithm (ITU-T I.371), and by deliveries at once. A delivery is one unit of
// a rate, whatever its recipients. A flow whose next entry some limit has no room for
// stands in the list of that limit, and in no lane: nobody else waits behind it, nothing
// polls, and no attempt is used up. When the limit has room again, as many flows as it has
// room for go back to their lanes. A flow that could not start then, because something
// else keeps it, must not keep the room to itself: so when nothing is ready any more,
// what still has room wakes further ones (loosen).

// Limit is what the operator chose for a limit.
type Limit struct {
	Rates       []Rate
	Connections int // deliveries at once; 0 is no limit
}

// Rate is so many in a time. In any time T at most Burst + Count * T / Per start.
type Rate struct {
	Count int64 // at least 1
	Per   time.Duration
	Burst int64 // at least 1: how many may come at once
}

// gap is how far apart they are at the pace of r, never too short.
func (r *Rate) gap() time.Duration {
	n := max(r.Count, 1)
	return max(time.Duration((int64(r.Per)+n-1)/n), 1)
}

// slack is how far before its time one may come.
func (r *Rate) slack() time.Duration { return time.Duration(max(r.Burst, 1)-1) * r.gap() }

// rule is a limit of the configuration, for all its keys.
type rule struct {
	Limit
	name string
	gone bool // it bounds nothing any more
}

// limit is a rule for one key. It is remembered while anything refers to it, and then
// until its rates have forgotten it.
type limit struct {
	rule    *rule
	key     string
	busy    int
	last    uint64     // number of the start that was charged last
	due     []Time     // by rate: the theoretical arrival time of the next
	waiting list[flow] // what waits for it
	alarm   timer      // for room, while anything waits for it
	refs    int        // terms that name it
	loose   node[limit]
	idle    node[limit]
	alone   *terms // that name no other and no window
}

// keyOf names a limit.
type keyOf struct {
	rule *rule
	key  string
}

const (
	// maxLimits is how many limits are remembered by key: about 100 MB. What comes
	// beyond shares one key.
	maxLimits = 250_000
	otherKeys = "\x00others"
	// forgetEach is how many idle limits are looked at for each new one.
	forgetEach = 2
)

// setLimits takes the rules of a new configuration.
func (m *Machine) setLimits() {
	for name, r := range m.rules {
		if _, ok := m.cfg.Limits[name]; !ok {
			r.gone = true
		}
	}
	for name, l := range m.cfg.Limits {
		r := m.rules[name]
		if r == nil {
			r = &rule{name: name}
			m.rules[name] = r
		}
		r.Limit, r.gone = l, false
	}
	for _, l := range sorted(m.limits) {
		l.fit(m.now)
		m.wakeLimit(l)
	}
}

// fit makes the times of l those of its rule as it is now. Nobody waits longer than a
// full burst takes by the new rates.
func (l *limit) fit(now Time) {
	n := len(l.rule.Rates)
	if l.rule.gone {
		n = 0
	}
	for len(l.due) < n {
		l.due = append(l.due, 0)
	}
	l.due = l.due[:n]
	for i := range l.due {
		r := &l.rule.Rates[i]
		l.due[i] = min(l.due[i], now.Add(r.slack()+r.gap()))
	}
}

// limit returns the limit of a name and key, nil for one that bounds nothing.
func (m *Machine) limit(k LimitKey) *limit {
	r := m.rules[k.Limit]
	if r == nil || r.gone {
		return nil
	}
	if l := m.limits[keyOf{r, k.Key}]; l != nil {
		return l
	}
	for range forgetEach {
		if l := m.idleLimits.rotate(); l != nil && l.refs == 0 && l.rested(m.now) {
			m.forgetLimit(l)
		}
	}
	if len(m.limits) >= maxLimits && k.Key != otherKeys {
		return m.limit(LimitKey{k.Limit, otherKeys})
	}
	l := &limit{rule: r, key: k.Key, due: make([]Time, len(r.Rates))}
	l.loose.of, l.idle.of, l.alarm.limit = l, l, l
	m.limits[keyOf{r, k.Key}] = l
	return l
}

// rested says whether l is like one that was never used.
func (l *limit) rested(now Time) bool {
	for _, due := range l.due {
		if due > now {
			return false
		}
	}
	return true
}

func (m *Machine) forgetLimit(l *limit) {
	l.idle.leave()
	l.loose.leave()
	m.timers.clear(&l.alarm)
	delete(m.limits, keyOf{l.rule, l.key})
}

// refer counts what refers to l.
func (m *Machine) refer(l *limit, n int) {
	l.refs += n
	switch {
	case l.refs > 0:
		l.idle.leave()
	case l.rested(m.now):
		m.forgetLimit(l)
	default:
		l.alone = nil
		m.idleLimits.member(&l.idle, true)
	}
}

// room returns how many may start now, and when the next may if that is none; 0 is not
// known.
func (l *limit) room(now Time) (n int64, at Time) {
	n = 1 << 40
	if l.rule.gone {
		return n, 0
	}
	for i := range l.due {
		r := &l.rule.Rates[i]
		first := max(l.due[i], now) - Time(r.slack())
		if first > now {
			n, at = 0, max(at, first)
			continue
		}
		n = min(n, int64(now.Sub(first)/r.gap())+1)
	}
	if c := l.rule.Connections; c > 0 {
		n = min(n, max(int64(c-l.busy), 0))
	}
	return n, at
}

// charge counts the start of a delivery, the one of that number.
func (l *limit) charge(now Time, start uint64) {
	l.busy++
	l.last = start
	for i := range l.due {
		l.due[i] = max(l.due[i], now).Add(l.rule.Rates[i].gap())
	}
}

// uncharge takes back a start of a delivery that was not made after all, if it was the
// last: what one before it had taken may have been made up for by now.
func (l *limit) uncharge(start uint64) {
	if l.last != start {
		return
	}
	l.last = 0
	for i := range l.due {
		l.due[i] -= Time(l.rule.Rates[i].gap())
	}
}

// bounded says whether a limit has no room for f. Then f waits for that which frees last.
func (m *Machine) bounded(f *flow) bool {
	if f.terms.window != nil && m.shut(f) {
		return true
	}
	l, at := f.terms.tightest(m.now)
	if l == nil {
		return false
	}
	f.bound = l
	l.waiting.push(&f.waits)
	f.settle()
	m.watchLimit(l, at)
	return true
}

// watchLimit sets the alarm of l, which has no room until at.
func (m *Machine) watchLimit(l *limit, at Time) {
	if l.waiting.n > 0 && at > 0 {
		m.timers.set(&l.alarm, at)
	} else {
		m.timers.clear(&l.alarm)
	}
}

// wakeLimit lets as many flows go on as l has room for.
func (m *Machine) wakeLimit(l *limit) {
	if l.waiting.n == 0 {
		m.timers.clear(&l.alarm)
		return
	}
	n, at := l.room(m.now)
	for ; n > 0 && l.waiting.n > 0; n-- {
		f := l.waiting.first.of
		f.waits.leave()
		f.settle()
		f.bin.dest.settle()
		m.settle(f.bin.tier.trans)
		m.woken++
	}
	m.watchLimit(l, at)
	m.slack.member(&l.loose, l.waiting.n > 0 && at == 0)
}

// loosen wakes further flows of limits that have room though nothing is ready. It says
// whether any was.
func (m *Machine) loosen() bool {
	before := m.woken
	var next *node[limit]
	for x := m.slack.first; x != nil; x = next {
		next = x.next
		l := x.of
		if n, _ := l.room(m.now); n == 0 || l.waiting.n == 0 {
			l.loose.leave()
			if n == 0 {
				_, at := l.room(m.now)
				m.watchLimit(l, at)
			}
			continue
		}
		m.wakeLimit(l)
	}
	return m.woken != before
}
