package policy

// Terms are the parts of a condition that all have to hold for it to hold: what stands
// between its outermost &&. A condition that always holds has none.
func Terms(e Expr) []Expr {
	if len(e) == 0 {
		return nil
	}
	root := &e[len(e)-1]
	if root.Op != OpAnd {
		return []Expr{e}
	}
	return append(Terms(Part(e, root.Args[0])), Terms(Part(e, root.Args[1]))...)
}

// Part returns the expression that ends with step i of e.
func Part(e Expr, i uint16) Expr {
	var out Expr
	var take func(uint16) uint16
	take = func(i uint16) uint16 {
		n := e[i]
		args := make([]uint16, len(n.Args))
		for k, a := range n.Args {
			args[k] = take(a)
		}
		n.Args = args
		out = append(out, n)
		return uint16(len(out) - 1)
	}
	take(i)
	return out
}

// Value is what a fact, header field or lookup in an expression is, as text.
type Value struct{ Name, Value string }

// Values returns what the facts, header fields and lookups of an expression are. Decide has
// to have found nothing lacking.
func (p *Policy) Values(e Expr, f *Facts) []Value {
	r := run{p: p, f: f}
	r.own()
	var out []Value
	for i := range e {
		n, one := &e[i], Part(e, uint16(i))
		switch n.Op {
		case OpFact, OpHeader:
			out = append(out, Value{p.Show(one), r.value(one)})
		case OpCount:
			out = append(out, Value{p.Show(one), showCount(Fact(n.Num), r.count(Fact(n.Num)))})
		case OpLookup:
			v := "not found"
			if a := r.answer(one, uint16(len(one)-1)); a == nil {
				v = "not known"
			} else if a.Found {
				v = "found: " + a.Value
			}
			out = append(out, Value{p.Show(one), v})
		}
	}
	return out
}
