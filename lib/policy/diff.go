package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Diff says in what two policies differ, for the log of a reload: "queue vip added", "limit
// big changed", "2 rules added". nil is a system without a policy. Nothing: they do the same.
func Diff(old, fresh *Policy) []string {
	if old == nil {
		old = New()
	}
	if fresh == nil {
		fresh = New()
	}
	was, is := old.Parts(), fresh.Parts()
	var out []string
	for _, x := range is {
		i := slices.IndexFunc(was, func(y Shown) bool { return x.Kind == y.Kind && x.Name == y.Name })
		switch {
		case i < 0:
			out = append(out, x.Kind+" "+x.Name+" added")
		case was[i].Text != x.Text:
			out = append(out, x.Kind+" "+x.Name+" changed")
		}
	}
	for _, y := range was {
		if !slices.ContainsFunc(is, func(x Shown) bool { return x.Kind == y.Kind && x.Name == y.Name }) {
			out = append(out, y.Kind+" "+y.Name+" removed")
		}
	}
	return append(out, rules(old, fresh)...)
}

// rules says how many rules are new, gone, or the same in another order.
func rules(old, fresh *Policy) []string {
	count := map[string]int{}
	var before, after []string
	for i := range old.Rules {
		before = append(before, old.ShowRule(i))
		count[before[i]]++
	}
	added := 0
	for i := range fresh.Rules {
		after = append(after, fresh.ShowRule(i))
		if count[after[i]]--; count[after[i]] < 0 {
			added++
		}
	}
	removed := max(len(before)-len(after)+added, 0)
	var out []string
	if n := min(added, removed); n > 0 {
		out, added, removed = append(out, some(n)+" changed"), added-n, removed-n
	}
	if added > 0 {
		out = append(out, some(added)+" added")
	}
	if removed > 0 {
		out = append(out, some(removed)+" removed")
	}
	if out == nil && !slices.Equal(before, after) {
		out = []string{"rules in another order"}
	}
	return out
}

func some(n int) string {
	if n == 1 {
		return "1 rule"
	}
	return fmt.Sprintf("%d rules", n)
}

// ShowRule gives a rule in the language, without its place.
func (p *Policy) ShowRule(i int) string {
	r := &p.Rules[i]
	parts := []string{"when = " + p.Show(r.When)}
	for _, x := range []struct {
		key, value string
		is         bool
	}{
		{"queue", p.Queues[r.Queue].Name, r.Queue != 0}, {"schedule", p.Schedules[r.Schedule].Name, r.Schedule != 0},
		{"pool", p.Pools[r.Pool].Name, r.Pool != 0}, {"route", p.Routes[r.Route].Name, r.Route != 0},
		{"window", p.Windows[r.Window].Name, r.Window != 0}, {"priority", r.Level.String(), r.Level != NoLevel},
	} {
		if x.is {
			parts = append(parts, fmt.Sprintf("%s = %q", x.key, x.value))
		}
	}
	return strings.Join(parts, ", ")
}
