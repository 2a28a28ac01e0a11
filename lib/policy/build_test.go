package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// The tests build expressions by hand, as package hcl does from the language.

// is is fact == "value".
func is(f Fact, value string) Expr {
	return Expr{{Op: OpFact, Num: int64(f)}, {Op: OpText, Str: value}, {Op: OpSame, Args: []uint16{0, 1}}}
}

// found is lookup(table, rcpt).
func found(table int64) Expr {
	return Expr{{Op: OpFact, Num: int64(Rcpt)}, {Op: OpLookup, Num: table, Args: []uint16{0}}, {Op: OpFound, Args: []uint16{1}}}
}

// rich is a policy that uses everything.
func rich(t testing.TB) *Policy {
	p := New()
	p.Queues = append(p.Queues, Queue{Name: "vip", Slots: 1000, Level: High, Weight: 3, Share: 10})
	p.Schedules = append(p.Schedules, Schedule{Name: "tiers", Retry: []time.Duration{10 * time.Minute}, Expire: 144 * time.Hour, Jitter: 5,
		Tiers: []Tier{{"mid", 3, time.Hour}, {"slow", 10, 4 * time.Hour}}, Notify: []time.Duration{24 * time.Hour}, Window: 1})
	p.Windows = append(p.Windows, Window{Name: "office", Days: 0x3e, Hours: []Hours{{480, 1080}}})
	p.Routes = append(p.Routes, Route{Name: "store", Kind: RouteHops, LMTP: true, Hops: []Hop{{Name: "mx", Port: 24}}, Connections: 10})
	p.Limits = append(p.Limits, Limit{Name: "big", Keys: []Expr{{{Op: OpFact, Num: int64(Tenant)}}, {{Op: OpFact, Num: int64(RcptDomain)}}},
		When: is(MXGroup, "example.com"), Rates: []Rate{{1000, time.Hour, 5}}, Connections: 20})
	p.Quotas = append(p.Quotas, Quota{Name: "q", Keys: []Expr{{{Op: OpFact, Num: int64(SenderDomain)}}}, Messages: 100})
	p.Providers = append(p.Providers, Provider{"big", []string{"mx.example.org"}})
	p.Tenant = Expr{{Op: OpHeader, Str: "x-tenant"}}
	p.Headers = []string{"x-tenant"}
	p.Tables = []string{"texthash:/etc/vip"}
	p.Patterns = []string{"^bulk-"}
	p.Prefixes = []string{"192.0.2.0/24"}
	p.Rules = []Rule{
		{Name: "vips", Pos: "sched.cf:3", When: found(0), Queue: 1, Schedule: 1, Level: Critical},
		{Pos: "sched.cf:9", Route: 1},
	}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	return p
}

// many has n rules of three terms that do not hold, and a last one that does.
func many(t testing.TB, n int) *Policy {
	p := New()
	p.Tenant = Expr{{Op: OpHeader, Str: "x-tenant"}}
	for i := range n - 1 {
		e := is(RcptDomain, fmt.Sprintf("example%d.com", i))
		e = slices.Concat(e, Expr{{Op: OpCount, Num: int64(Attempts)}, {Op: OpNum, Num: 3}, {Op: OpAtMost, Args: []uint16{4, 3}}})
		e = append(e, Node{Op: OpOr, Args: []uint16{2, 5}})
		e = append(e, is(Tenant, "x")[:2]...)
		e = append(e, Node{Op: OpSame, Args: []uint16{7, 8}}, Node{Op: OpAnd, Args: []uint16{6, 9}})
		p.Rules = append(p.Rules, Rule{When: e})
	}
	p.Rules = append(p.Rules, Rule{})
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	return p
}
