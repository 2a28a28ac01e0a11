package postconf

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"postrider/lib/config"
)

// show prints the parameters that the options ask for, sorted by name; names
// that are given keep their order.
func (c *command) show(cfg *config.Config, problems config.Problems) error {
	names := c.Names
	if len(names) == 0 {
		var err error
		if names, err = c.names(cfg, problems); err != nil {
			return err
		}
	}
	for _, name := range names {
		value, ok := c.value(cfg, name)
		if !ok {
			c.warn(name + ": unknown parameter")
			continue
		}
		c.print(cfg, name, value)
		if c.Explain {
			c.explain(name)
		}
	}
	return nil
}

// print shows a name and its value, in the form that the options ask for.
func (c *command) print(cfg *config.Config, name, value string) {
	if c.Expand {
		expanded, err := cfg.Expand(value)
		if err != nil {
			c.warn(name + ": " + err.Error())
		} else {
			value = expanded
		}
	}
	if c.JSON {
		b, err := json.Marshal(struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		}{name, value})
		if err != nil {
			c.warn(name + ": " + err.Error())
			return
		}
		fmt.Fprintf(c.out, "%s\n", b)
		return
	}
	switch {
	case c.NoName:
	case c.NoValue:
		value = name
	case value == "":
		value = name + " ="
	default:
		value = name + " = " + value
	}
	limit := math.MaxInt
	if c.Fold {
		limit = lineLimit
	}
	fmt.Fprintln(c.out, fold(value, limit))
}

// lineLimit is the width beyond which Postfix folds, and indent what it starts further
// lines with.
const (
	lineLimit = 80
	indent    = "    "
)

// fold breaks a line that is longer than limit between its words, as Postfix's postconf
// does; between words that stay together there is one blank.
func fold(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, w := range strings.Fields(s) {
		switch {
		case n == 0:
		case n+len(w) < limit:
			b.WriteByte(' ')
			n++
		default:
			b.WriteString("\n" + indent)
			n = len(indent)
		}
		b.WriteString(w)
		n += len(w)
	}
	return b.String()
}

// names are all names to show: of the table, of main.cf, or of both, of the classes
// of -C. What nothing uses was warned of and is left out.
func (c *command) names(cfg *config.Config, problems config.Problems) ([]string, error) {
	classes := map[string]bool{}
	for _, class := range c.Class {
		if !slices.Contains([]string{"builtin", "service", "user", "all"}, class) {
			return nil, fmt.Errorf("-C %s: write builtin, service, user or all", class)
		}
		classes[class] = true
	}
	in := func(class string) bool { return len(classes) == 0 || classes["all"] || classes[class] }
	classOf := func(name string) string {
		if _, ok := config.Lookup(name); ok {
			return "builtin"
		}
		if _, ok := cfg.TransportRaw(name); ok {
			return "service"
		}
		return "user"
	}
	var names []string
	if !c.Changed || c.Defaults {
		for _, p := range config.Params() {
			names = append(names, p.Name)
		}
	}
	if !c.Defaults {
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
	names = slices.DeleteFunc(names, func(name string) bool { return !in(classOf(name)) })
	sort.Strings(names)
	return slices.Compact(names), nil
}

// value returns what to show of a name, not expanded.
func (c *command) value(cfg *config.Config, name string) (string, bool) {
	p, known := config.Lookup(name)
	switch {
	case c.Defaults:
		return cfg.Default(p), known
	case c.Changed:
		return cfg.Set(name)
	}
	if v, ok := cfg.Raw(name); ok {
		return v, true
	}
	return cfg.TransportRaw(name)
}

// explain says what a parameter is, and whether anything reads it.
func (c *command) explain(name string) {
	p, ok := config.Lookup(name)
	if !ok {
		return
	}
	if p.Support != config.Supported {
		fmt.Fprintf(c.out, "    # %s: %s.\n", p.Support, p.Why)
		return
	}
	fmt.Fprintf(c.out, "    # %s", p.Kind)
	if p.Kind == config.KindInt {
		fmt.Fprintf(c.out, ", at least %d", p.Min)
		if p.Max != 0 {
			fmt.Fprintf(c.out, ", at most %d", p.Max)
		}
	}
	fmt.Fprintf(c.out, ". %s\n", p.Help)
}
