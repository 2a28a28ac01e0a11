package postconf

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"sort"

	"postrider/lib/config"
)

// show prints the parameters that the options ask for, sorted by name; names
// that are given keep their order.
func (o *options) show(cfg *config.Config, problems config.Problems, stdout io.Writer, warn func(string)) error {
	names := o.Names
	if len(names) == 0 {
		names = o.names(cfg, problems)
	}
	w := bufio.NewWriter(stdout)
	for _, name := range names {
		value, ok := o.value(cfg, name)
		if !ok {
			warn(name + ": unknown parameter")
			continue
		}
		if o.Expand {
			expanded, err := cfg.Expand(value)
			if err != nil {
				warn(name + ": " + err.Error())
			} else {
				value = expanded
			}
		}
		switch {
		case o.NoName:
			fmt.Fprintln(w, value)
		case o.NoValue:
			fmt.Fprintln(w, name)
		case value == "":
			fmt.Fprintln(w, name+" =")
		default:
			fmt.Fprintln(w, name+" = "+value)
		}
		if o.Explain {
			explain(w, name)
		}
	}
	return w.Flush()
}

// names are all names to show: of the table, of main.cf, or of both. What
// nothing uses was warned of and is left out.
func (o *options) names(cfg *config.Config, problems config.Problems) []string {
	var names []string
	if !o.Changed || o.Defaults {
		for _, p := range config.Params() {
			names = append(names, p.Name)
		}
	}
	if !o.Defaults {
		unused := map[int]bool{}
		for _, p := range problems {
			if p.Severity == config.Unused {
				unused[p.Line] = true
			}
		}
		for _, s := range cfg.Settings() {
			if !unused[s.Line] {
				names = append(names, s.Name)
			}
		}
	}
	sort.Strings(names)
	return slices.Compact(names)
}

// value returns what to show of a name, not expanded.
func (o *options) value(cfg *config.Config, name string) (string, bool) {
	p, known := config.Lookup(name)
	switch {
	case o.Defaults:
		return cfg.Default(p), known
	case o.Changed:
		return cfg.Set(name)
	}
	if v, ok := cfg.Raw(name); ok {
		return v, true
	}
	return cfg.TransportRaw(name)
}

func explain(w io.Writer, name string) {
	p, ok := config.Lookup(name)
	if !ok {
		return
	}
	fmt.Fprintf(w, "    # %s", p.Kind)
	if p.Kind == config.KindInt {
		fmt.Fprintf(w, ", at least %d", p.Min)
		if p.Max != 0 {
			fmt.Fprintf(w, ", at most %d", p.Max)
		}
	}
	fmt.Fprintf(w, ". %s\n", p.Help)
}
