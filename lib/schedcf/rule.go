package schedcf

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"postrider/lib/policy"
)

// facts reads the block of that name.
func (r *reader) facts(b *block) {
	p := r.p
	for _, f := range []struct {
		name string
		to   *policy.Expr
	}{{"tenant", &p.Tenant}, {"campaign", &p.Campaign}, {"priority", &p.Priority}, {"send_at", &p.SendAt}, {"expire_at", &p.ExpireAt}} {
		a := b.attr(f.name)
		if a == nil {
			continue
		}
		if *f.to != nil {
			b.errorf(a.NameRange, "%s is defined twice", f.name)
			continue
		}
		*f.to = b.words(a.Expr)
	}
	b.done()
}

// rule reads one rule.
func (r *reader) rule(b *block) {
	rule := policy.Rule{Pos: fmt.Sprintf("%s:%d", filepath.Base(r.name), b.at.Start.Line)}
	before := len(r.problems)
	rule.When = b.condition("when")
	if a := b.body.Attributes["when"]; a != nil {
		rule.Text = strings.Join(strings.Fields(string(a.Expr.Range().SliceBytes(r.src))), " ")
		if rule.When == nil && len(r.problems) > before {
			rule.When = policy.Expr{{Op: policy.OpBool}} // wrong: not taken for unconditional
		}
	}
	rule.Queue, rule.Schedule, rule.Pool = b.ref("queue", "queue"), b.ref("schedule", "schedule"), b.ref("pool", "pool")
	rule.Route, rule.Window, rule.Level = b.ref("route", "route"), b.ref("window", "window"), b.level("priority")
	b.done()
	r.p.Rules = append(r.p.Rules, rule)
}

// rulesAsWhole says what is wrong with the rules together.
func (r *reader) rulesAsWhole(body *hclsyntax.Body) {
	var at []*hclsyntax.Block
	for _, b := range body.Blocks {
		if b.Type == "rule" {
			at = append(at, b)
			if len(b.Labels) == 1 {
				r.p.Rules[len(at)-1].Name = b.Labels[0]
			}
		}
	}
	rules := r.p.Rules
	if len(rules) == 0 {
		return
	}
	if last := len(rules) - 1; rules[last].When != nil {
		r.errorf(at[last].DefRange(), "the last rule has a condition: write a rule without one behind it, for all other mail")
	}
	terms := make([][]string, len(rules))
	for i := range rules {
		where := at[i].DefRange()
		terms[i] = r.terms(rules[i].When)
		wrong := len(rules[i].When) == 1 && rules[i].When[0].Op == policy.OpBool && rules[i].Text != "false"
		if why := r.contradiction(rules[i].When); why != "" && !wrong {
			r.warnf(where, "this rule never holds: %s", why)
		}
		for k := range i {
			if !subset(terms[k], terms[i]) {
				continue
			}
			if terms[k] == nil {
				r.errorf(where, "this rule is never reached: the one at line %d takes all mail; put it last", at[k].DefRange().Start.Line)
			} else {
				r.warnf(where, "this rule is never reached: the one at line %d holds whenever this one does", at[k].DefRange().Start.Line)
			}
			break
		}
	}
}
