package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
)

// ready is what Check makes of a policy for its evaluation.
type ready struct {
	patterns []*regexp.Regexp
	prefixes []netip.Prefix
	mx       bool
	quotas   quotaNeeds
}

// ErrPolicy is the kind of error for a policy that cannot be evaluated. One that package
// schedcf has read has no such errors.
var ErrPolicy = errors.New("bad policy")

// exprMax bounds the nodes of one condition, depthMax how deep they stand in each other.
const (
	exprMax  = 4096
	depthMax = 200
)

// Check makes a policy ready for Decide, or returns an error of kind ErrPolicy. Whatever
// it accepts, Decide evaluates without a fault.
func (p *Policy) Check() error {
	p.ready = &ready{}
	for _, s := range p.Patterns {
		re, err := regexp.Compile(s)
		if err != nil {
			return fmt.Errorf("%w: %v", ErrPolicy, err)
		}
		p.ready.patterns = append(p.ready.patterns, re)
	}
	for _, s := range p.Prefixes {
		net, err := netip.ParsePrefix(s)
		if err != nil {
			return fmt.Errorf("%w: %v", ErrPolicy, err)
		}
		p.ready.prefixes = append(p.ready.prefixes, net.Masked())
	}
	if len(p.Queues) == 0 || len(p.Schedules) == 0 || len(p.Sources) == 0 || len(p.Pools) == 0 || len(p.Routes) == 0 || len(p.Windows) == 0 {
		return fmt.Errorf("%w: no defaults", ErrPolicy)
	}
	if err := p.checkExprs(); err != nil {
		return err
	}
	p.noteQuotas()
	return p.checkNumbers()
}

// checkExprs looks at every condition and text.
func (p *Policy) checkExprs() error {
	type one struct {
		e    Expr
		kind Kind
	}
	all := []one{{p.Tenant, Text}, {p.Campaign, Text}, {p.SendAt, Text}, {p.ExpireAt, Text}, {p.Priority, Text}}
	for i := range p.Rules {
		all = append(all, one{p.Rules[i].When, Bool})
	}
	for i := range p.Limits {
		all = append(all, one{p.Limits[i].When, Bool})
		for _, k := range p.Limits[i].Keys {
			all = append(all, one{k, Text})
		}
	}
	for i := range p.Quotas {
		all = append(all, one{p.Quotas[i].When, Bool})
		for _, k := range p.Quotas[i].Keys {
			all = append(all, one{k, Text})
		}
	}
	for _, x := range all {
		if err := p.checkExpr(x.e, x.kind); err != nil {
			return err
		}
	}
	return nil
}

// checkExpr says what is wrong with an expression: each node is used once, after its
// operands, of the types it needs.
func (p *Policy) checkExpr(e Expr, want Kind) error {
	if len(e) == 0 {
		return nil
	}
	if len(e) > exprMax {
		return fmt.Errorf("%w: a condition of more than %d steps", ErrPolicy, exprMax)
	}
	kinds, depths, used := make([]Kind, len(e)), make([]int, len(e)), make([]bool, len(e))
	for i := range e {
		n := &e[i]
		for _, a := range n.Args {
			if int(a) >= i || used[a] {
				return fmt.Errorf("%w: step %d", ErrPolicy, i)
			}
			used[a] = true
			depths[i] = max(depths[i], depths[a]+1)
		}
		if depths[i] > depthMax {
			return fmt.Errorf("%w: a condition deeper than %d", ErrPolicy, depthMax)
		}
		kinds[i] = p.kindOf(e, i, kinds)
		if kinds[i] == 0 {
			return fmt.Errorf("%w: step %d", ErrPolicy, i)
		}
		if n.Op == OpFact && Fact(n.Num) == MXGroup {
			p.ready.mx = true
		}
	}
	if kinds[len(e)-1] != want {
		return fmt.Errorf("%w: %s where %s belongs", ErrPolicy, kinds[len(e)-1], want)
	}
	return nil
}

// shapes are the operands and the result of the operations that have a fixed number.
var shapes = [opEnd]struct {
	args   []Kind
	result Kind
}{
	OpBool: {nil, Bool}, OpAnd: {[]Kind{Bool, Bool}, Bool}, OpOr: {[]Kind{Bool, Bool}, Bool}, OpNot: {[]Kind{Bool}, Bool},
	OpSame: {[]Kind{Text, Text}, Bool}, OpDiffers: {[]Kind{Text, Text}, Bool},
	OpEqual: {[]Kind{Number, Number}, Bool}, OpUnequal: {[]Kind{Number, Number}, Bool},
	OpLess: {[]Kind{Number, Number}, Bool}, OpAtMost: {[]Kind{Number, Number}, Bool},
	OpStarts: {[]Kind{Text, Text}, Bool}, OpEnds: {[]Kind{Text, Text}, Bool}, OpHas: {[]Kind{Text, Text}, Bool},
	OpUnder: {[]Kind{Text, Text}, Bool}, OpOneOf: {[]Kind{Text}, Bool}, OpMatches: {[]Kind{Text}, Bool},
	OpCIDR: {[]Kind{Text}, Bool}, OpFound: {[]Kind{Text}, Bool},
	OpText: {nil, Text}, OpFact: {nil, Text}, OpHeader: {nil, Text}, OpLower: {[]Kind{Text}, Text},
	OpChoose: {[]Kind{Bool, Text, Text}, Text}, OpNum: {nil, Number}, OpCount: {nil, Number},
}

// kindOf returns the type of e[i], 0 when it is none.
func (p *Policy) kindOf(e Expr, i int, kinds []Kind) Kind {
	n := &e[i]
	if n.Op == 0 || n.Op >= opEnd {
		return 0
	}
	index := func(list int) bool { return n.Num >= 0 && n.Num < int64(list) }
	ok := true
	switch n.Op {
	case OpMatches:
		ok = index(len(p.Patterns))
	case OpCIDR:
		ok = index(len(p.Prefixes))
	case OpOneOf:
		ok = slices.IsSorted(n.Set)
	case OpFact, OpCount:
		info := Fact(n.Num).info()
		ok = info != nil && (info.Kind == Text) == (n.Op == OpFact)
	case OpFound:
		ok = len(n.Args) == 1 && e[n.Args[0]].Op == OpLookup
	case OpLookup, OpCoalesce:
		for _, a := range n.Args {
			ok = ok && kinds[a] == Text
		}
		if !ok || len(n.Args) == 0 || n.Op == OpLookup && !index(len(p.Tables)) {
			return 0
		}
		return Text
	}
	s := &shapes[n.Op]
	if !ok || len(n.Args) != len(s.args) {
		return 0
	}
	for k, a := range n.Args {
		if kinds[a] != s.args[k] {
			return 0
		}
	}
	return s.result
}

// checkNumbers looks at every reference and every number that code relies on.
func (p *Policy) checkNumbers() error {
	in := func(i, n int) bool { return i >= 0 && i < n }
	for i := range p.Rules {
		r := &p.Rules[i]
		if !in(r.Queue, len(p.Queues)) || !in(r.Schedule, len(p.Schedules)) || !in(r.Pool, len(p.Pools)) ||
			!in(r.Route, len(p.Routes)) || !in(r.Window, len(p.Windows)) || r.Level > Critical {
			return fmt.Errorf("%w: rule %d", ErrPolicy, i)
		}
	}
	for i := range p.Queues {
		if q := &p.Queues[i]; q.Slots < 0 || q.Level < Low || q.Level > Critical || q.Weight < 1 || q.Share < -1 || q.Share > 100 {
			return fmt.Errorf("%w: queue %s", ErrPolicy, q.Name)
		}
	}
	for i := range p.Pools {
		for _, m := range p.Pools[i].Members {
			if !in(m.Source, len(p.Sources)) || m.Weight < 1 {
				return fmt.Errorf("%w: pool %s", ErrPolicy, p.Pools[i].Name)
			}
		}
		if len(p.Pools[i].Members) == 0 {
			return fmt.Errorf("%w: pool %s", ErrPolicy, p.Pools[i].Name)
		}
	}
	for i := range p.Limits {
		l := &p.Limits[i]
		for _, r := range l.Rates {
			if r.Count < 1 || r.Per <= 0 || r.Burst < 1 {
				return fmt.Errorf("%w: limit %s", ErrPolicy, l.Name)
			}
		}
		if l.Connections < 0 {
			return fmt.Errorf("%w: limit %s", ErrPolicy, l.Name)
		}
	}
	for i := range p.Routes {
		r := &p.Routes[i]
		if r.Kind > RouteDiscard || r.Kind == RouteHops && len(r.Hops) == 0 || r.Kind == RouteMaildir && (r.Path == "" || r.Path[0] != '/') || r.Connections < 0 {
			return fmt.Errorf("%w: route %s", ErrPolicy, r.Name)
		}
	}
	for i := range p.Schedules {
		if err := p.Schedules[i].check(len(p.Windows)); err != nil {
			return err
		}
	}
	for i := range p.Windows {
		if err := p.Windows[i].check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Schedule) check(windows int) error {
	bad := s.Window < 0 || s.Window >= windows || s.Interval < 0 || s.MaxInterval < 0 || s.Expire < 0 || s.MaxAttempts < 0 ||
		s.Expire > 0 && s.MaxAttempts > 0 || s.Jitter < -1 || s.Jitter > 100 || len(s.Retry) > 0 && s.Interval > 0
	for _, d := range s.Retry {
		bad = bad || d <= 0
	}
	for i, t := range s.Tiers {
		bad = bad || t.After < 1 || t.Every <= 0 || i > 0 && t.After <= s.Tiers[i-1].After
	}
	for i, d := range s.Notify {
		bad = bad || d <= 0 || i > 0 && d <= s.Notify[i-1]
	}
	if bad {
		return fmt.Errorf("%w: schedule %s", ErrPolicy, s.Name)
	}
	return nil
}
