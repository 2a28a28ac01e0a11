package schedcf

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"postrider/lib/policy"
)

// functions by name, with how they are written.
var functions = map[string]struct {
	form string
	op   policy.Op
}{
	"startswith":  {"startswith(text, \"start\")", policy.OpStarts},
	"endswith":    {"endswith(text, \"end\")", policy.OpEnds},
	"strcontains": {"strcontains(text, \"part\")", policy.OpHas},
	"under":       {"under(domain, \"example.com\")", policy.OpUnder},
	"contains":    {"contains([\"a\", \"b\"], text)", policy.OpOneOf},
	"matches":     {"matches(text, \"regular expression\")", policy.OpMatches},
	"cidr":        {"cidr(client_address, \"192.0.2.0/24\")", policy.OpCIDR},
	"lookup":      {"lookup(\"type:name\", key, ...)", policy.OpLookup},
	"lower":       {"lower(text)", policy.OpLower},
	"coalesce":    {"coalesce(text, text, ...)", policy.OpCoalesce},
}

func functionNames() []string { return slices.Sorted(maps.Keys(functions)) }

// otherFunctions are those of Stalwart, and what they are here.
var otherFunctions = map[string]string{
	"is_local_domain": "address_class == \"local\"",
	"sql_query":       "lookup(\"sqlite:/etc/postrider/NAME.cf\", key, ...) with the query in that file",
	"starts_with":     "startswith", "ends_with": "endswith", "key_exists": "lookup", "key_get": "lookup", "regex": "matches", "in": "contains",
}

func (c *compiler) call(x *hclsyntax.FunctionCallExpr) (value, bool) {
	f, ok := functions[x.Name]
	if !ok {
		if is, other := otherFunctions[x.Name]; other {
			c.errorf(x.NameRange, "there is no function %s; here it is %s", x.Name, is)
		} else {
			c.errorf(x.NameRange, "there is no function %s%s", x.Name, suggest(x.Name, functionNames()))
		}
		return value{}, false
	}
	wrong := func(at hcl.Range) (value, bool) {
		c.errorf(at, "write %s", f.form)
		return value{}, false
	}
	n := len(x.Args)
	switch f.op {
	case policy.OpLower:
		if n != 1 {
			return wrong(x.Range())
		}
	case policy.OpCoalesce, policy.OpLookup:
		if n < 2 || n > 10 {
			return wrong(x.Range())
		}
	default:
		if n != 2 {
			return wrong(x.Range())
		}
	}
	if x.ExpandFinal {
		return wrong(x.Range())
	}
	switch f.op {
	case policy.OpOneOf:
		return c.contains(x, wrong)
	case policy.OpMatches, policy.OpCIDR:
		return c.against(x, f.op, wrong)
	case policy.OpLookup:
		return c.lookup(x, wrong)
	}
	var args []value
	var first *policy.FactInfo
	for i, a := range x.Args {
		v, ok := c.part(a, folded(first))
		if !ok {
			return v, false
		}
		if v.kind != policy.Text {
			return wrong(a.Range())
		}
		if i == 0 {
			first = v.fact
		}
		args = append(args, v)
	}
	if f.op == policy.OpLower || f.op == policy.OpCoalesce {
		return c.step(f.op, 0, "", policy.Text, args...)
	}
	return c.step(f.op, 0, "", policy.Bool, args...)
}

// folded is a fact of which only whether it is in lower case counts for a constant beside
// it: that is not a whole value of it.
func folded(f *policy.FactInfo) *policy.FactInfo {
	if f == nil {
		return nil
	}
	return &policy.FactInfo{Kind: policy.Text, Folded: f.Folded}
}

// constant returns the text that an argument has to be.
func constant(e hclsyntax.Expression) (string, bool) {
	v, ds := e.Value(nil)
	if ds.HasErrors() || v.IsNull() || v.Type() != cty.String {
		return "", false
	}
	return v.AsString(), true
}

func (c *compiler) contains(x *hclsyntax.FunctionCallExpr, wrong func(hcl.Range) (value, bool)) (value, bool) {
	list, is := x.Args[0].(*hclsyntax.TupleConsExpr)
	if !is || len(list.Exprs) == 0 {
		return wrong(x.Args[0].Range())
	}
	v, ok := c.part(x.Args[1], nil)
	if !ok {
		return v, false
	}
	if v.kind != policy.Text {
		return wrong(x.Args[1].Range())
	}
	var set []string
	for _, e := range list.Exprs {
		if _, ok := constant(e); !ok {
			return wrong(e.Range())
		}
		n := len(c.e)
		if _, ok := c.part(e, v.fact); !ok {
			return value{}, false
		}
		set = append(set, c.e[n].Str)
		c.e = c.e[:n]
	}
	slices.Sort(set)
	out, ok := c.step(policy.OpOneOf, 0, "", policy.Bool, v)
	if ok {
		c.e[out.step].Set = slices.Compact(set)
	}
	return out, ok
}

// against compiles matches and cidr, whose second argument is compiled beforehand.
func (c *compiler) against(x *hclsyntax.FunctionCallExpr, op policy.Op, wrong func(hcl.Range) (value, bool)) (value, bool) {
	v, ok := c.part(x.Args[0], nil)
	if !ok {
		return v, false
	}
	s, is := constant(x.Args[1])
	if v.kind != policy.Text || !is {
		return wrong(x.Range())
	}
	list, err := &c.p.Patterns, error(nil)
	if op == policy.OpCIDR {
		list = &c.p.Prefixes
		var net netip.Prefix
		if net, err = netip.ParsePrefix(s); err == nil {
			s = net.Masked().String()
		}
	} else {
		_, err = regexp.Compile(s)
	}
	if err != nil {
		c.errorf(x.Args[1].Range(), "%s: %v", x.Name, err)
		return value{}, false
	}
	return c.step(op, int64(index(list, s)), "", policy.Bool, v)
}

// index returns the place of s in a list, to which it is added when it is not there.
func index(list *[]string, s string) int {
	if i := slices.Index(*list, s); i >= 0 {
		return i
	}
	*list = append(*list, s)
	return len(*list) - 1
}

func (c *compiler) lookup(x *hclsyntax.FunctionCallExpr, wrong func(hcl.Range) (value, bool)) (value, bool) {
	spec, is := constant(x.Args[0])
	if !is {
		return wrong(x.Args[0].Range())
	}
	if c.Table != nil {
		if err := c.Table(spec); err != nil {
			c.errorf(x.Args[0].Range(), "lookup: %v", err)
			return value{}, false
		}
	}
	var args []value
	for _, a := range x.Args[1:] {
		v, ok := c.part(a, nil)
		if !ok {
			return v, false
		}
		if v.kind != policy.Text {
			return wrong(a.Range())
		}
		args = append(args, v)
	}
	return c.step(policy.OpLookup, int64(index(&c.p.Tables, spec)), "", policy.Text, args...)
}

// choose compiles a ? b : c, of texts.
func (c *compiler) choose(x *hclsyntax.ConditionalExpr, near *policy.FactInfo) (value, bool) {
	if near != nil && near.Kind != policy.Text {
		near = nil
	}
	cond, ok := c.part(x.Condition, nil)
	if ok {
		cond, ok = c.truth(cond, x.Condition.Range())
	}
	if !ok {
		return cond, false
	}
	yes, ok := c.part(x.TrueResult, near)
	if !ok {
		return yes, false
	}
	no, ok := c.part(x.FalseResult, near)
	if !ok {
		return no, false
	}
	if yes.kind != policy.Text || no.kind != policy.Text {
		c.errorf(x.Range(), "both results of ? : are texts")
		return value{}, false
	}
	return c.step(policy.OpChoose, 0, "", policy.Text, cond, yes, no)
}

// binary compiles && || == != < <= > >=.
func (c *compiler) binary(x *hclsyntax.BinaryOpExpr) (value, bool) {
	if x.Op == hclsyntax.OpLogicalAnd || x.Op == hclsyntax.OpLogicalOr {
		l, ok := c.part(x.LHS, nil)
		if ok {
			l, ok = c.truth(l, x.LHS.Range())
		}
		if !ok {
			return l, false
		}
		r, ok := c.part(x.RHS, nil)
		if ok {
			r, ok = c.truth(r, x.RHS.Range())
		}
		if !ok {
			return r, false
		}
		op := policy.OpAnd
		if x.Op == hclsyntax.OpLogicalOr {
			op = policy.OpOr
		}
		return c.step(op, 0, "", policy.Bool, l, r)
	}
	l, r, ok := c.operands(x)
	if !ok {
		return l, false
	}
	if l.kind != r.kind || l.kind == policy.Bool {
		c.errorf(x.Range(), "%s and %s cannot be compared", l.kind, r.kind)
		return l, false
	}
	number := l.kind == policy.Number
	switch {
	case x.Op == hclsyntax.OpEqual && number:
		return c.step(policy.OpEqual, 0, "", policy.Bool, l, r)
	case x.Op == hclsyntax.OpEqual:
		return c.step(policy.OpSame, 0, "", policy.Bool, l, r)
	case x.Op == hclsyntax.OpNotEqual && number:
		return c.step(policy.OpUnequal, 0, "", policy.Bool, l, r)
	case x.Op == hclsyntax.OpNotEqual:
		return c.step(policy.OpDiffers, 0, "", policy.Bool, l, r)
	case !number:
	case x.Op == hclsyntax.OpLessThan:
		return c.step(policy.OpLess, 0, "", policy.Bool, l, r)
	case x.Op == hclsyntax.OpGreaterThan:
		return c.step(policy.OpLess, 0, "", policy.Bool, r, l)
	case x.Op == hclsyntax.OpLessThanOrEqual:
		return c.step(policy.OpAtMost, 0, "", policy.Bool, l, r)
	case x.Op == hclsyntax.OpGreaterThanOrEqual:
		return c.step(policy.OpAtMost, 0, "", policy.Bool, r, l)
	}
	c.errorf(x.Range(), "texts are compared by == and != only, and nothing is reckoned here")
	return l, false
}

// operands compiles both sides of a comparison, the constant one knowing the other.
func (c *compiler) operands(x *hclsyntax.BinaryOpExpr) (l, r value, ok bool) {
	if _, is := x.LHS.(*hclsyntax.ScopeTraversalExpr); !is {
		if _, is := x.RHS.(*hclsyntax.ScopeTraversalExpr); is {
			if r, ok = c.part(x.RHS, nil); !ok {
				return
			}
			l, ok = c.part(x.LHS, r.near())
			return
		}
	}
	if l, ok = c.part(x.LHS, nil); !ok {
		return
	}
	r, ok = c.part(x.RHS, l.near())
	return
}

// near is what a constant beside v is read as.
func (v value) near() *policy.FactInfo {
	if v.fact == nil {
		return &policy.FactInfo{Kind: v.kind}
	}
	return v.fact
}
