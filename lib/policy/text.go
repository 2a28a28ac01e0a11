package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// String gives an expression of a policy without its tables, for messages; see Show.
func (e Expr) String() string { return (*Policy)(nil).Show(e) }

// Show gives an expression in the language's own words.
func (p *Policy) Show(e Expr) string {
	if len(e) == 0 {
		return "true"
	}
	return p.show(e, uint16(len(e)-1))
}

// infix are the operations that are written between their operands.
var infix = map[Op]string{OpAnd: "&&", OpOr: "||", OpSame: "==", OpDiffers: "!=", OpEqual: "==", OpUnequal: "!=", OpLess: "<", OpAtMost: "<="}

// calls are those that are written as functions.
var calls = map[Op]string{OpStarts: "startswith", OpEnds: "endswith", OpHas: "strcontains", OpUnder: "under", OpLower: "lower", OpCoalesce: "coalesce"}

func (p *Policy) show(e Expr, i uint16) string {
	n := &e[i]
	arg := func(k int) string { return p.show(e, n.Args[k]) }
	nested := func(k int) string {
		if op := e[n.Args[k]].Op; op == OpOr && n.Op != OpOr || op == OpAnd && n.Op != OpAnd || op == OpChoose {
			return "(" + arg(k) + ")"
		}
		return arg(k)
	}
	list := func(first ...string) string {
		for k := range n.Args {
			first = append(first, arg(k))
		}
		return strings.Join(first, ", ")
	}
	named := func(list func(*Policy) []string) string {
		if p == nil || n.Num < 0 || n.Num >= int64(len(list(p))) {
			return "?"
		}
		return strconv.Quote(list(p)[n.Num])
	}
	if s := p.showBound(e, n); s != "" {
		return s
	}
	if op := infix[n.Op]; op != "" {
		return nested(0) + " " + op + " " + nested(1)
	}
	if name := calls[n.Op]; name != "" {
		return name + "(" + list() + ")"
	}
	switch n.Op {
	case OpBool:
		return strconv.FormatBool(n.Num != 0)
	case OpNot:
		if infix[e[n.Args[0]].Op] != "" {
			return "!(" + arg(0) + ")"
		}
		return "!" + arg(0)
	case OpOneOf:
		set := make([]string, len(n.Set))
		for k, s := range n.Set {
			set[k] = strconv.Quote(s)
		}
		return "contains([" + strings.Join(set, ", ") + "], " + arg(0) + ")"
	case OpMatches:
		return "matches(" + list() + ", " + named(func(p *Policy) []string { return p.Patterns }) + ")"
	case OpCIDR:
		return "cidr(" + list() + ", " + named(func(p *Policy) []string { return p.Prefixes }) + ")"
	case OpFound:
		return arg(0)
	case OpLookup:
		return "lookup(" + list(named(func(p *Policy) []string { return p.Tables })) + ")"
	case OpText:
		return strconv.Quote(n.Str)
	case OpHeader:
		return "header[" + strconv.Quote(n.Str) + "]"
	case OpFact, OpCount:
		if info := Fact(n.Num).info(); info != nil {
			return info.Name
		}
	case OpNum:
		return strconv.FormatInt(n.Num, 10)
	case OpChoose:
		return nested(0) + " ? " + arg(1) + " : " + arg(2)
	}
	return fmt.Sprintf("op%d", n.Op)
}

// showBound shows a number fact beside a constant as it is written: the fact first, a time
// with its unit. "" when n is nothing of the kind.
func (p *Policy) showBound(e Expr, n *Node) string {
	ops := map[Op][2]string{OpEqual: {"==", "=="}, OpUnequal: {"!=", "!="}, OpLess: {"<", ">"}, OpAtMost: {"<=", ">="}}[n.Op]
	if ops[0] == "" {
		return ""
	}
	fact, num, op := &e[n.Args[0]], &e[n.Args[1]], ops[0]
	if fact.Op == OpNum {
		fact, num, op = num, fact, ops[1]
	}
	info := Fact(fact.Num).info()
	if fact.Op != OpCount || num.Op != OpNum || info == nil {
		return ""
	}
	value := strconv.FormatInt(num.Num, 10)
	if info.Fact == Age {
		value = strconv.Quote(Span(time.Duration(num.Num)))
	}
	return info.Name + " " + op + " " + value
}
