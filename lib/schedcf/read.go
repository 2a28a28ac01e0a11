package schedcf

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"postrider/lib/config"
	"postrider/lib/policy"
)

// Options is what Read needs besides the text.
type Options struct {
	// Main is the configuration that the policy stands beside; nil: nothing is compared.
	Main *config.Config
	// Zone returns the database's file for a time zone; nil: the system's.
	Zone func(name string) ([]byte, error)
	// Table says what is wrong with a "type:name"; nil: not asked.
	Table func(spec string) error
}

// reader is one reading of a file.
type reader struct {
	Options
	name     string
	src      []byte
	p        *policy.Policy
	problems Problems
	declared map[string][]declaration // by kind of block
}

// declaration is a block with a name.
type declaration struct {
	name  string
	index int // in the list of the Policy
	block *hclsyntax.Block
	used  bool
}

// kinds are the blocks that have a name, and those that have none.
var (
	named   = []string{"queue", "schedule", "source", "pool", "limit", "window", "route", "quota", "provider"}
	unnamed = []string{"facts", "rule"}
)

// Read compiles the text of a sched.cf. The policy means nothing when Problems.Err is not
// nil.
func Read(name string, src []byte, o Options) (*policy.Policy, Problems) {
	r := &reader{Options: o, name: name, src: src, p: policy.New(), declared: map[string][]declaration{}}
	if r.Zone == nil {
		r.Zone = systemZone
	}
	f, ds := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	r.diagnose(ds)
	if ds.HasErrors() {
		return r.p, r.problems.sorted()
	}
	body := f.Body.(*hclsyntax.Body)
	r.declare(body)
	r.top(body)
	r.each(body, "facts", r.facts) // what they define can be used in all others
	r.blocks()
	r.each(body, "rule", r.rule)
	r.rulesAsWhole(body)
	r.unused()
	r.withoutEffect()
	if r.problems.Err() == nil {
		if err := r.p.Check(); err != nil {
			r.errorf(hcl.Range{}, "%v", err)
		}
	}
	return r.p, r.problems.sorted()
}

// each reads the blocks of a kind that has no names.
func (r *reader) each(body *hclsyntax.Body, kind string, read func(*block)) {
	for _, b := range body.Blocks {
		if b.Type == kind {
			read(r.block(b))
		}
	}
}

func (r *reader) block(b *hclsyntax.Block) *block {
	return &block{reader: r, kind: b.Type, body: b.Body, at: b.DefRange()}
}

// top reads what stands outside of blocks.
func (r *reader) top(body *hclsyntax.Body) {
	b := &block{reader: r, kind: "sched.cf", body: body}
	r.p.Priorities = b.yes("priorities", true)
	if s, _, has := b.one("priority_aging"); has && s == "off" {
		r.p.Aging = 0
	} else if d, ok := b.duration("priority_aging"); ok {
		r.p.Aging = d
	}
	b.done(append(slices.Clone(named), unnamed...)...)
}

// declare collects the names, so that blocks may stand in any order. What is named
// "default" takes the place of what is there without it.
func (r *reader) declare(body *hclsyntax.Body) {
	p := r.p
	first := map[string]string{"queue": p.Queues[0].Name, "schedule": p.Schedules[0].Name, "source": p.Sources[0].Name,
		"pool": p.Pools[0].Name, "route": p.Routes[0].Name, "window": p.Windows[0].Name}
	for _, b := range body.Blocks {
		if slices.Contains(unnamed, b.Type) {
			if len(b.Labels) > 1 || b.Type == "facts" && len(b.Labels) > 0 {
				r.errorf(b.DefRange(), "%s takes no such name", b.Type)
			}
			continue
		}
		if !slices.Contains(named, b.Type) {
			continue // top complains
		}
		if len(b.Labels) != 1 || b.Labels[0] == "" {
			r.errorf(b.DefRange(), "%s needs one name in quotes", b.Type)
			continue
		}
		d := declaration{name: b.Labels[0], block: b}
		if slices.ContainsFunc(r.declared[b.Type], func(x declaration) bool { return x.name == d.name }) {
			r.errorf(b.LabelRanges[0], "%s %q is declared twice", b.Type, d.name)
			continue
		}
		switch b.Type {
		case "queue":
			d.index = place(&p.Queues, d.name == first[b.Type])
		case "schedule":
			d.index = place(&p.Schedules, d.name == first[b.Type])
		case "source":
			d.index = place(&p.Sources, d.name == first[b.Type])
		case "pool":
			d.index = place(&p.Pools, d.name == first[b.Type])
		case "route":
			d.index = place(&p.Routes, false)
		case "window":
			d.index = place(&p.Windows, false)
		case "limit":
			d.index = place(&p.Limits, false)
		case "quota":
			d.index = place(&p.Quotas, false)
		case "provider":
			d.index = place(&p.Providers, false)
		}
		if n := first[b.Type]; n == d.name && (b.Type == "route" || b.Type == "window") {
			r.errorf(b.LabelRanges[0], "%s %q is what holds without any; choose another name", b.Type, d.name)
		}
		r.declared[b.Type] = append(r.declared[b.Type], d)
	}
}

// place makes room for one more, or takes the first place.
func place[T any](list *[]T, first bool) int {
	if first {
		return 0
	}
	var x T
	*list = append(*list, x)
	return len(*list) - 1
}

// find returns the index of what is declared under a name, 0 when nothing is.
func (r *reader) find(kind, name string, at hcl.Range) int {
	names := r.builtin(kind)
	for i := range r.declared[kind] {
		d := &r.declared[kind][i]
		if d.name == name {
			d.used = true
			return d.index
		}
		names = append(names, d.name)
	}
	if slices.Contains(r.builtin(kind), name) {
		return 0
	}
	r.errorf(at, "no %s %q is declared%s", kind, name, suggest(name, names))
	return 0
}

// builtin are the names that need no declaration.
func (r *reader) builtin(kind string) []string {
	switch kind {
	case "queue", "schedule", "route":
		return []string{"default"}
	case "source", "pool":
		return []string{"unspecified"}
	case "window":
		return []string{"always"}
	}
	return nil
}

// unused warns of what nothing refers to.
func (r *reader) unused() {
	for _, kind := range []string{"queue", "schedule", "source", "pool", "window", "route"} {
		for _, d := range r.declared[kind] {
			if !d.used && d.index != 0 {
				by := "no rule leads to it"
				if kind == "source" {
					by = "no pool has it"
				}
				r.warnf(d.block.LabelRanges[0], "%s %q is declared, but %s", kind, d.name, by)
			}
		}
	}
}
