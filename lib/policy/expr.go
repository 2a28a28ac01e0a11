package policy

import (
	"net/netip"
	"slices"
	"strings"
)

// Expr is a condition or a text, compiled: a tree whose nodes stand in one list, operands
// before what uses them, the root last. It is evaluated where it stands, without memory of
// its own.
type Expr []Node

// Node is one step of an Expr. What the fields mean follows from Op.
type Node struct {
	Op   Op
	Num  int64    // OpNum, OpBool; OpFact: a Fact; OpLookup, OpMatches, OpCIDR: an index in the Policy
	Str  string   // OpText; OpHeader: the name in lower case
	Set  []string // OpOneOf: sorted
	Args []uint16 // nodes before this one
}

// Op is what a node does.
type Op uint8

// The operations, with the types of their operands.
const (
	OpBool     Op = iota + 1 // Num != 0
	OpAnd                    // bool, bool
	OpOr                     // bool, bool
	OpNot                    // bool
	OpSame                   // text, text: equal
	OpDiffers                // text, text: not equal
	OpEqual                  // number, number
	OpUnequal                // number, number
	OpLess                   // number, number
	OpAtMost                 // number, number
	OpStarts                 // text, text
	OpEnds                   // text, text
	OpHas                    // text, text: the second stands in the first
	OpUnder                  // text, text: a domain that is the second or below it
	OpOneOf                  // text; Set
	OpMatches                // text; Num in Patterns
	OpCIDR                   // text; Num in Prefixes
	OpFound                  // an OpLookup
	OpText                   // Str
	OpFact                   // Num
	OpHeader                 // Str
	OpLookup                 // texts; Num in Tables
	OpLower                  // text
	OpCoalesce               // texts: the first that is not empty
	OpChoose                 // bool, text, text
	OpNum                    // Num
	OpCount                  // a number fact: Num
	opEnd
)

// Kind is the type of a value.
type Kind uint8

// The kinds of values.
const (
	Bool Kind = iota + 1
	Text
	Number
)

func (k Kind) String() string {
	return [...]string{"nothing", "a condition", "a text", "a number"}[k]
}

// run is one evaluation.
type run struct {
	p    *Policy
	f    *Facts
	need *Need // what was lacking; what is returned besides means nothing then
}

// holds evaluates a condition; nil holds.
func (r *run) holds(e Expr) bool { return len(e) == 0 || r.bool(e, uint16(len(e)-1)) }

// value evaluates a text; nil is "".
func (r *run) value(e Expr) string {
	if len(e) == 0 {
		return ""
	}
	return r.text(e, uint16(len(e)-1))
}

func (r *run) bool(e Expr, i uint16) bool {
	n := &e[i]
	switch n.Op {
	case OpBool:
		return n.Num != 0
	case OpAnd:
		return r.bool(e, n.Args[0]) && r.need == nil && r.bool(e, n.Args[1])
	case OpOr:
		return r.bool(e, n.Args[0]) || r.need == nil && r.bool(e, n.Args[1])
	case OpNot:
		return !r.bool(e, n.Args[0])
	case OpSame:
		return r.text(e, n.Args[0]) == r.text(e, n.Args[1])
	case OpDiffers:
		return r.text(e, n.Args[0]) != r.text(e, n.Args[1])
	case OpEqual:
		return r.num(e, n.Args[0]) == r.num(e, n.Args[1])
	case OpUnequal:
		return r.num(e, n.Args[0]) != r.num(e, n.Args[1])
	case OpLess:
		return r.num(e, n.Args[0]) < r.num(e, n.Args[1])
	case OpAtMost:
		return r.num(e, n.Args[0]) <= r.num(e, n.Args[1])
	case OpStarts:
		return strings.HasPrefix(r.text(e, n.Args[0]), r.text(e, n.Args[1]))
	case OpEnds:
		return strings.HasSuffix(r.text(e, n.Args[0]), r.text(e, n.Args[1]))
	case OpHas:
		return strings.Contains(r.text(e, n.Args[0]), r.text(e, n.Args[1]))
	case OpUnder:
		return under(r.text(e, n.Args[0]), r.text(e, n.Args[1]))
	case OpOneOf:
		_, is := slices.BinarySearch(n.Set, r.text(e, n.Args[0]))
		return is
	case OpMatches:
		return r.p.ready.patterns[n.Num].MatchString(r.text(e, n.Args[0]))
	case OpCIDR:
		addr, err := netip.ParseAddr(r.text(e, n.Args[0]))
		return err == nil && r.p.ready.prefixes[n.Num].Contains(addr.Unmap())
	case OpFound:
		a := r.answer(e, n.Args[0])
		return a != nil && a.Found
	}
	return false
}

func (r *run) text(e Expr, i uint16) string {
	n := &e[i]
	switch n.Op {
	case OpText:
		return n.Str
	case OpFact:
		return r.fact(Fact(n.Num))
	case OpHeader:
		return r.f.header(n.Str)
	case OpLookup:
		if a := r.answer(e, i); a != nil {
			return a.Value
		}
	case OpLower:
		return strings.ToLower(r.text(e, n.Args[0]))
	case OpCoalesce:
		for _, a := range n.Args {
			if s := r.text(e, a); s != "" || r.need != nil {
				return s
			}
		}
	case OpChoose:
		if r.bool(e, n.Args[0]) {
			return r.text(e, n.Args[1])
		}
		return r.text(e, n.Args[2])
	}
	return ""
}

func (r *run) num(e Expr, i uint16) int64 {
	n := &e[i]
	if n.Op == OpCount {
		return r.count(Fact(n.Num))
	}
	return n.Num
}

// answer returns what the table said to the lookup that e[i] is. Without an answer it is
// asked for, and nil.
func (r *run) answer(e Expr, i uint16) *Answer {
	n := &e[i]
	for k := range r.f.Answers {
		if a := &r.f.Answers[k]; int64(a.Table) == n.Num && r.sameKeys(a.Keys, e, n.Args) {
			return a
		}
	}
	if r.need == nil {
		keys := make([]string, len(n.Args))
		for k, arg := range n.Args {
			keys[k] = r.text(e, arg)
		}
		if r.need == nil { // or a key lacks something
			r.need = &Need{Table: int(n.Num), Keys: keys}
		}
	}
	return nil
}

// sameKeys says whether keys is joinKeys of the values of args.
func (r *run) sameKeys(keys string, e Expr, args []uint16) bool {
	if len(args) == 1 {
		return keys == r.text(e, args[0])
	}
	for _, a := range args {
		s := r.text(e, a)
		if len(keys) <= len(s) || keys[:len(s)] != s || keys[len(s)] != 0 {
			return false
		}
		keys = keys[len(s)+1:]
	}
	return keys == ""
}

// joinKeys makes one string of several keys. Values hold no NUL.
func joinKeys(keys []string) string {
	if len(keys) == 1 {
		return keys[0]
	}
	var b strings.Builder
	for _, k := range keys {
		b.WriteString(k)
		b.WriteByte(0)
	}
	return b.String()
}

// under says whether a domain is top or below it.
func under(domain, top string) bool {
	n := len(domain) - len(top)
	return top != "" && n >= 0 && domain[n:] == top && (n == 0 || domain[n-1] == '.')
}
