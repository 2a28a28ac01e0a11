package schedcf

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"postrider/lib/policy"
)

// block reads the arguments of one block. What nobody asked for is unknown.
type block struct {
	*reader
	kind  string
	body  *hclsyntax.Body
	at    hcl.Range
	asked []string
}

// attr returns an argument, nil when it is not there.
func (b *block) attr(name string) *hclsyntax.Attribute {
	b.asked = append(b.asked, name)
	return b.body.Attributes[name]
}

// done complains of what is unknown. inner are the kinds of blocks that may stand inside.
func (b *block) done(inner ...string) {
	for _, name := range slices.Sorted(maps.Keys(b.body.Attributes)) {
		if !slices.Contains(b.asked, name) {
			b.errorf(b.body.Attributes[name].NameRange, "%s has no argument %q%s", b.kind, name, b.alternative(name))
		}
	}
	for _, x := range b.body.Blocks {
		if !slices.Contains(inner, x.Type) {
			b.errorf(x.TypeRange, "a block %q cannot stand in %s%s", x.Type, b.kind, suggest(x.Type, inner))
		}
	}
}

// elsewhere are arguments of the systems whose policies are carried over, and what they
// are here.
var elsewhere = map[string]string{
	"threads-per-node": "slots", "threads_per_node": "slots", "workers": "slots", "max_workers": "slots",
	"queue-name": "queue", "max-attempts": "max_attempts", "max_retries": "max_attempts",
	"max_age": "expire", "max_queue_time": "expire", "retry_schedule": "retry",
	"egress_pool": "pool", "max_message_rate": "a limit with rate", "connection_limit": "a limit with connections",
	"maildir_path": "maildir", "custom_lua": "nothing yet: deliveries by Lua are not built",
	"if": "when", "then": "queue and schedule",
}

func (b *block) alternative(name string) string {
	if is, ok := elsewhere[name]; ok {
		return "; here it is " + is
	}
	return suggest(name, b.asked)
}

// isFact says whether a name is that of a fact.
func isFact(name string) bool {
	return name == "header" || slices.ContainsFunc(policy.Catalogue, func(f policy.FactInfo) bool { return f.Name == name })
}

// constant evaluates an argument that has no facts in it.
func (b *block) constant(e hclsyntax.Expression) (cty.Value, bool) {
	v, ds := e.Value(nil)
	if ds.HasErrors() || !v.IsWhollyKnown() || v.IsNull() {
		if t, is := e.(*hclsyntax.ScopeTraversalExpr); is && len(t.Traversal) == 1 && !isFact(t.Traversal.RootName()) {
			b.errorf(e.Range(), "write it in quotes: %q", t.Traversal.RootName())
			return cty.NilVal, false
		}
		b.errorf(e.Range(), "write a constant here; facts belong into when, key and the block facts")
		return v, false
	}
	return v, true
}

// text reads a text; "" when it is not there.
func (b *block) text(name string) (string, hcl.Range) {
	a := b.attr(name)
	if a == nil {
		return "", b.at
	}
	v, ok := b.constant(a.Expr)
	if ok && v.Type() != cty.String {
		b.errorf(a.Expr.Range(), "%s: write a text in quotes", name)
		ok = false
	}
	if !ok {
		return "", a.Expr.Range()
	}
	return v.AsString(), a.Expr.Range()
}

// texts reads a list of texts, or a single one.
func (b *block) texts(name string) (list []string, at []hcl.Range, has bool) {
	a := b.attr(name)
	if a == nil {
		return nil, nil, false
	}
	for _, e := range elements(a.Expr) {
		v, ok := b.constant(e)
		if !ok {
			continue
		}
		switch {
		case v.Type() == cty.String:
			list = append(list, v.AsString())
		case v.Type() == cty.Number:
			list = append(list, v.AsBigFloat().Text('f', -1))
		default:
			b.errorf(e.Range(), "%s: write texts in quotes", name)
			continue
		}
		at = append(at, e.Range())
	}
	return list, at, true
}

// elements are the members of a list, or the one thing that stands there.
func elements(e hclsyntax.Expression) []hclsyntax.Expression {
	if t, ok := e.(*hclsyntax.TupleConsExpr); ok {
		return t.Exprs
	}
	return []hclsyntax.Expression{e}
}

// number reads a whole number between least and most.
func (b *block) number(name string, least, most int) (n int, has bool) {
	a := b.attr(name)
	if a == nil {
		return 0, false
	}
	v, ok := b.constant(a.Expr)
	if !ok {
		return 0, false
	}
	if v.Type() == cty.Number {
		if x, exact := v.AsBigFloat().Int64(); exact == 0 && x >= int64(least) && x <= int64(most) {
			return int(x), true
		}
	}
	b.errorf(a.Expr.Range(), "%s: write a whole number from %d to %d", name, least, most)
	return 0, false
}

// yes reads true or false.
func (b *block) yes(name string, usual bool) bool {
	a := b.attr(name)
	if a == nil {
		return usual
	}
	v, ok := b.constant(a.Expr)
	if ok && v.Type() != cty.Bool {
		b.errorf(a.Expr.Range(), "%s: write true or false", name)
		return usual
	}
	return ok && v.True()
}

// percent reads "5%" or a number.
func (b *block) percent(name string) (n int, has bool) {
	s, at, has := b.one(name)
	if !has {
		return 0, false
	}
	for _, c := range strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), "%")) + "" {
		if n = n*10 + int(c-'0'); c < '0' || c > '9' || n > 100 {
			b.errorf(at, "%s: write a part of 100, as \"5%%\"", name)
			return 0, false
		}
	}
	return n, true
}

// one reads a text or a number as text.
func (b *block) one(name string) (string, hcl.Range, bool) {
	list, at, has := b.texts(name)
	if !has || len(list) == 0 {
		return "", b.at, false
	}
	if len(list) > 1 {
		b.errorf(at[1], "%s: write one value", name)
		return "", b.at, false
	}
	return list[0], at[0], true
}

// duration reads "4h", "20 minutes" or a number of seconds.
func (b *block) duration(name string) (time.Duration, bool) {
	s, at, has := b.one(name)
	if !has {
		return 0, false
	}
	return b.asDuration(name, s, at)
}

func (b *block) asDuration(name, s string, at hcl.Range) (time.Duration, bool) {
	d, err := policy.ParseDuration(s)
	if err != nil {
		b.errorf(at, "%s: %v", name, err)
		return 0, false
	}
	if d <= 0 {
		b.errorf(at, "%s: write a time above zero", name)
		return 0, false
	}
	return d, true
}

// durations reads a list of them.
func (b *block) durations(name string) (list []time.Duration, at []hcl.Range, has bool) {
	texts, where, has := b.texts(name)
	for i, s := range texts {
		if d, ok := b.asDuration(name, s, where[i]); ok {
			list, at = append(list, d), append(at, where[i])
		}
	}
	return list, at, has
}

// level reads a priority.
func (b *block) level(name string) policy.Level {
	s, at, has := b.one(name)
	if !has {
		return policy.NoLevel
	}
	names := []string{"low", "normal", "high", "critical"}
	if i := slices.Index(names, s); i >= 0 {
		return policy.Low + policy.Level(i)
	}
	if len(s) == 1 && s >= "1" && s <= "4" { // Elemta's numbers
		return policy.Level(s[0] - '0')
	}
	b.errorf(at, "%s: there is no level %q%s", name, s, suggest(s, names))
	return policy.NoLevel
}

// ref reads the name of something that was declared; 0 when it is not there.
func (b *block) ref(name, kind string) int {
	s, at := b.text(name)
	if s == "" {
		return 0
	}
	return b.find(kind, s, at)
}
