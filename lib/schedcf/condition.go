package schedcf

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"postrider/lib/policy"
	"postrider/lib/table"
)

// compiler makes the steps of one expression.
type compiler struct {
	*reader
	e     policy.Expr
	where string // "a rule", "a limit", "a quota", "facts": some facts are not everywhere
}

// value is a part that is compiled: its last step, its type, and the fact that it is.
type value struct {
	step int
	kind policy.Kind
	fact *policy.FactInfo
}

// condition compiles an argument that is a condition; nil when it is not there, or always
// holds.
func (b *block) condition(name string) policy.Expr {
	a := b.attr(name)
	if a == nil {
		return nil
	}
	c := compiler{reader: b.reader, where: b.kind}
	v, ok := c.part(a.Expr, nil)
	if !ok {
		return nil
	}
	if v, ok = c.truth(v, a.Expr.Range()); !ok {
		return nil
	}
	if n := c.e[v.step]; n.Op == policy.OpBool && n.Num != 0 {
		return nil
	}
	return c.e
}

// words compiles an argument that is a text.
func (b *block) words(e hclsyntax.Expression) policy.Expr {
	c := compiler{reader: b.reader, where: b.kind}
	v, ok := c.part(e, nil)
	if !ok {
		return nil
	}
	if v.kind != policy.Text {
		b.errorf(e.Range(), "write a text here, this is %s", v.kind)
		return nil
	}
	return c.e
}

// keys compiles the parts of a key. source among them is the egress source.
func (b *block) keys(name string, only policy.FactInfo) (keys []policy.Expr, source bool) {
	a := b.attr(name)
	if a == nil {
		return nil, false
	}
	for _, e := range elements(a.Expr) {
		if t, is := e.(*hclsyntax.ScopeTraversalExpr); is && t.Traversal.RootName() == "source" && b.kind == "limit" && len(t.Traversal) == 1 {
			source = true
			continue
		}
		k := b.words(e)
		if len(k) == 1 && k[0].Op == policy.OpText {
			b.errorf(e.Range(), "%s: %q is the same for all mail; write a fact, without quotes", name, k[0].Str)
			continue
		}
		if only.Early && !b.early(a, k) {
			continue
		}
		if k != nil {
			keys = append(keys, k)
		}
	}
	return keys, source
}

// early complains of what is not known yet when RCPT TO is answered.
func (r *reader) early(a *hclsyntax.Attribute, e policy.Expr) bool {
	for i := range e {
		n := &e[i]
		name := ""
		switch n.Op {
		case policy.OpHeader:
			name = "header"
		case policy.OpLookup:
			if s, err := table.Parse(r.p.Tables[n.Num]); err == nil && s.Database() {
				r.errorf(a.Expr.Range(), "a client that waits for the answer to RCPT TO is not kept waiting for a database; make an indexed table of it by postmap and name that")
				return false
			}
		case policy.OpFact, policy.OpCount:
			switch f := policy.Fact(n.Num); {
			case f == policy.Tenant && r.isEarly(r.p.Tenant), f == policy.Campaign && r.isEarly(r.p.Campaign):
			case !policy.Catalogue[f-1].Early:
				name = policy.Catalogue[f-1].Name
			}
		}
		if name != "" {
			r.errorf(a.Expr.Range(), "%s is not known yet when RCPT TO is answered; a quota counts by %s", name, strings.Join(earlyNames(), ", "))
			return false
		}
	}
	return true
}

func (r *reader) isEarly(e policy.Expr) bool {
	return !slices.ContainsFunc(e, func(n policy.Node) bool {
		if n.Op == policy.OpLookup {
			s, err := table.Parse(r.p.Tables[n.Num])
			return err == nil && s.Database()
		}
		return n.Op == policy.OpHeader || (n.Op == policy.OpFact || n.Op == policy.OpCount) && !policy.Catalogue[n.Num-1].Early
	})
}

func earlyNames() (names []string) {
	for _, f := range policy.Catalogue {
		if f.Early {
			names = append(names, f.Name)
		}
	}
	return names
}

// step appends one step.
func (c *compiler) step(op policy.Op, num int64, str string, kind policy.Kind, args ...value) (value, bool) {
	n := policy.Node{Op: op, Num: num, Str: str}
	for _, a := range args {
		n.Args = append(n.Args, uint16(a.step))
	}
	if len(c.e) >= 4000 {
		return value{}, false
	}
	c.e = append(c.e, n)
	return value{step: len(c.e) - 1, kind: kind}, true
}

// truth makes a condition of a value: a lookup holds when it finds something.
func (c *compiler) truth(v value, at hcl.Range) (value, bool) {
	switch {
	case v.kind == policy.Bool:
		return v, true
	case c.e[v.step].Op == policy.OpLookup:
		return c.step(policy.OpFound, 0, "", policy.Bool, v)
	}
	c.errorf(at, "a condition belongs here, this is %s; compare it with something", v.kind)
	return v, false
}

// part compiles an expression. near is the fact that it is compared with, if it is one.
func (c *compiler) part(x hclsyntax.Expression, near *policy.FactInfo) (value, bool) {
	switch x := x.(type) {
	case *hclsyntax.ParenthesesExpr:
		return c.part(x.Expression, near)
	case *hclsyntax.TemplateWrapExpr:
		return c.part(x.Wrapped, near)
	case *hclsyntax.BinaryOpExpr:
		return c.binary(x)
	case *hclsyntax.UnaryOpExpr:
		if x.Op == hclsyntax.OpLogicalNot {
			v, ok := c.part(x.Val, nil)
			if ok {
				v, ok = c.truth(v, x.Val.Range())
			}
			if !ok {
				return v, false
			}
			return c.step(policy.OpNot, 0, "", policy.Bool, v)
		}
	case *hclsyntax.ConditionalExpr:
		return c.choose(x, near)
	case *hclsyntax.FunctionCallExpr:
		return c.call(x)
	case *hclsyntax.ScopeTraversalExpr:
		return c.name(x.Traversal, x.Range())
	case *hclsyntax.IndexExpr:
		if t, is := x.Collection.(*hclsyntax.ScopeTraversalExpr); is && t.Traversal.RootName() == "header" && len(t.Traversal) == 1 {
			if v, ds := x.Key.Value(nil); !ds.HasErrors() && v.Type() == cty.String {
				return c.header(v.AsString(), x.Range())
			}
		}
		if t, is := x.Collection.(*hclsyntax.ScopeTraversalExpr); is && t.Traversal.RootName() == "header" {
			c.errorf(x.Range(), "the name of a field stands in quotes: header[\"x-tenant\"]")
			return value{}, false
		}
		c.errorf(x.Range(), "only header has members: header[\"x-tenant\"]")
		return value{}, false
	case *hclsyntax.TemplateExpr:
		if !x.IsStringLiteral() {
			c.errorf(x.Range(), "texts are not put together here; write several keys, or coalesce(a, b)")
			return value{}, false
		}
	}
	v, ds := x.Value(nil)
	if ds.HasErrors() || !v.IsWhollyKnown() || v.IsNull() {
		c.errorf(x.Range(), "this cannot stand in a condition; there are facts, texts, numbers, && || ! == != < <= > >= ? : and the functions %s", strings.Join(functionNames(), ", "))
		return value{}, false
	}
	return c.literal(v, near, x.Range())
}

// literal compiles a constant; one that is compared with a fact is read as that fact's.
func (c *compiler) literal(v cty.Value, near *policy.FactInfo, at hcl.Range) (value, bool) {
	switch v.Type() {
	case cty.Bool:
		n := int64(0)
		if v.True() {
			n = 1
		}
		return c.step(policy.OpBool, n, "", policy.Bool)
	case cty.Number:
		if near != nil && near.Kind == policy.Text {
			return c.literal(cty.StringVal(v.AsBigFloat().Text('f', -1)), near, at)
		}
		n, exact := v.AsBigFloat().Int64()
		if exact != 0 {
			c.errorf(at, "write a whole number")
			return value{}, false
		}
		if near != nil && near.Fact == policy.Age {
			if n > 1e9 || n < -1e9 {
				c.errorf(at, "no age is %d seconds", n)
				return value{}, false
			}
			n *= 1e9
		}
		return c.step(policy.OpNum, n, "", policy.Number)
	case cty.String:
	default:
		c.errorf(at, "a list stands only in contains([...], x)")
		return value{}, false
	}
	s := v.AsString()
	if near == nil {
		return c.step(policy.OpText, 0, s, policy.Text)
	}
	if near.Kind == policy.Number {
		n, err := int64(0), error(nil)
		switch near.Fact {
		case policy.Age:
			d, e := policy.ParseDuration(s)
			n, err = int64(d), e
		case policy.Size:
			n, err = policy.ParseSize(s)
		default:
			c.errorf(at, "%s is a number: write it without quotes", near.Name)
			return value{}, false
		}
		if err != nil {
			c.errorf(at, "%v", err)
			return value{}, false
		}
		return c.step(policy.OpNum, n, "", policy.Number)
	}
	if near.Folded {
		s = strings.ToLower(s)
	}
	c.plausible(near, s, at)
	return c.step(policy.OpText, 0, s, policy.Text)
}

// enumerated are the values of facts that have few.
var enumerated = map[policy.Fact][]string{
	policy.SourceKind:   {"user", "dsn", "report", "auto"},
	policy.AddressClass: {"local", "relay", "default"},
	policy.LastClass:    {"", "dns", "connection", "tls", "reply", "mailbox", "system", "policy", "other"},
}

// plausible complains of a value that the fact never has.
func (c *compiler) plausible(f *policy.FactInfo, s string, at hcl.Range) {
	known := enumerated[f.Fact]
	if c.Main != nil && (f.Fact == policy.Transport || f.Fact == policy.Listener) && s != "" {
		for _, v := range c.Main.Services() {
			if (v.Type == "inet") == (f.Fact == policy.Listener) {
				known = append(known, v.Name)
			}
		}
	}
	if f.Fact == policy.QueueName {
		known = append(known, "default")
		for _, d := range c.declared["queue"] {
			known = append(known, d.name)
		}
	}
	if known != nil && !slices.Contains(known, s) {
		c.errorf(at, "%s is never %q%s", f.Name, s, suggest(s, known))
	}
}

// name compiles the name of a fact, or header.x-name.
func (c *compiler) name(t hcl.Traversal, at hcl.Range) (value, bool) {
	root := t.RootName()
	if root == "header" {
		if len(t) == 2 {
			switch x := t[1].(type) {
			case hcl.TraverseIndex:
				if x.Key.Type() == cty.String {
					return c.header(x.Key.AsString(), at)
				}
			case hcl.TraverseAttr:
				return c.header(x.Name, at)
			}
		}
		c.errorf(at, "write header[\"x-tenant\"]")
		return value{}, false
	}
	var names []string
	for i := range policy.Catalogue {
		f := &policy.Catalogue[i]
		names = append(names, f.Name)
		if f.Name != root || len(t) != 1 {
			continue
		}
		if !c.defined(f, at) {
			return value{}, false
		}
		op := policy.OpFact
		if f.Kind == policy.Number {
			op = policy.OpCount
		}
		v, ok := c.step(op, int64(f.Fact), "", f.Kind)
		v.fact = f
		return v, ok
	}
	if is, ok := otherFacts[root]; ok {
		c.errorf(at, "there is no fact %q; here it is %s", root, is)
	} else if text := string(at.SliceBytes(c.src)); len(t) > 1 && text != "" {
		c.errorf(at, "a text stands in quotes: %q", text)
	} else {
		c.errorf(at, "there is no fact %q%s", root, suggest(root, append(names, "header")))
	}
	return value{}, false
}

// otherFacts are what the systems whose policies are carried over call facts.
var otherFacts = map[string]string{
	"source": "source_kind (in the key of a limit, source is the egress source)", "domain": "rcpt_domain", "recipient": "rcpt", "routing_domain": "nexthop", "from": "sender",
	"to": "rcpt", "retry_num": "attempts", "last_error": "last_class", "user": "sasl_user", "mx": "mx_group", "provider": "mx_group",
}

// defined says whether a fact can be used here.
func (c *compiler) defined(f *policy.FactInfo, at hcl.Range) bool {
	switch {
	case f.Fact == policy.Tenant && c.p.Tenant == nil, f.Fact == policy.Campaign && c.p.Campaign == nil:
		if c.where == "facts" {
			c.errorf(at, "%s cannot be used before it is defined: in facts, tenant comes before campaign", f.Name)
		} else {
			c.errorf(at, "%s is not defined; write facts { %s = header[\"x-%s\"] }", f.Name, f.Name, f.Name)
		}
	case f.Fact == policy.QueueName && c.where != "limit":
		c.errorf(at, "queue is known in limits only: rules decide on it")
	default:
		return true
	}
	return false
}

// header compiles header["name"], and has cleanup capture it.
func (c *compiler) header(name string, at hcl.Range) (value, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, ":"))
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		c.errorf(at, "%q is no name of a header field", name)
		return value{}, false
	}
	if !slices.Contains(c.p.Headers, name) {
		if len(c.p.Headers) == headersMax {
			c.errorf(at, "more than %d header fields", headersMax)
		}
		c.p.Headers = append(c.p.Headers, name)
	}
	return c.step(policy.OpHeader, 0, name, policy.Text)
}

// headersMax is how many header fields a policy may look at; each is kept with every message.
const headersMax = 32
