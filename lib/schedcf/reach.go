package schedcf

import (
	"fmt"
	"math"
	"slices"

	"postrider/lib/policy"
)

// terms are the parts that all have to hold for a condition to hold, as texts; nil for one
// that always does.
func (r *reader) terms(e policy.Expr) []string {
	var list []string
	for _, t := range policy.Terms(e) {
		list = append(list, r.p.Show(t))
	}
	return list
}

// subset says whether each of a is among b, so that a holds whenever b does.
func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}

// contradiction says why a condition can never hold, "" when none is seen. It looks at the
// outermost terms only: two values for one fact, a term and its opposite, bounds that leave
// no number.
func (r *reader) contradiction(e policy.Expr) string {
	type bounds struct{ low, high int64 }
	is, hold := map[string]string{}, map[string]bool{}
	span := map[int64]bounds{}
	for _, t := range policy.Terms(e) {
		root := t[len(t)-1]
		text := r.p.Show(t)
		hold[text] = true
		if root.Op == policy.OpBool && root.Num == 0 {
			return "its condition is false"
		}
		if len(root.Args) != 2 {
			continue
		}
		a, b := t[root.Args[0]], t[root.Args[1]]
		if root.Op == policy.OpSame && b.Op == policy.OpText && a.Op != policy.OpText {
			left := r.p.Show(policy.Part(t, root.Args[0]))
			if v, has := is[left]; has && v != b.Str {
				return fmt.Sprintf("%s cannot be %q and %q", left, v, b.Str)
			}
			is[left] = b.Str
		}
		low, high := int64(math.MinInt64), int64(math.MaxInt64)
		fact := a.Num
		switch {
		case a.Op == policy.OpCount && b.Op == policy.OpNum:
			switch root.Op {
			case policy.OpLess:
				high = b.Num - 1
			case policy.OpAtMost:
				high = b.Num
			case policy.OpEqual:
				low, high = b.Num, b.Num
			}
		case a.Op == policy.OpNum && b.Op == policy.OpCount:
			fact = b.Num
			switch root.Op {
			case policy.OpLess:
				low = a.Num + 1
			case policy.OpAtMost:
				low = a.Num
			case policy.OpEqual:
				low, high = a.Num, a.Num
			}
		default:
			continue
		}
		if s, has := span[fact]; has {
			low, high = max(low, s.low), min(high, s.high)
		}
		if span[fact] = (bounds{low, high}); low > high {
			return "no " + policy.Catalogue[fact-1].Name + " is within its bounds"
		}
	}
	for text := range hold {
		if hold["!"+text] || hold["!("+text+")"] {
			return "it wants " + text + " and the opposite"
		}
	}
	return ""
}
