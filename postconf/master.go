package postconf

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postrider/lib/config"
)

// showMaster prints what -M, -F or -P asks for: of all services, or those that match
// SERVICE, SERVICE/TYPE or SERVICE/TYPE/NAME.
func (c *command) showMaster() error {
	path := filepath.Join(c.dir, "master.cf")
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w (choose the directory with -c or MAIL_CONFIG)", err)
	}
	all, problems, err := entries(path, string(text))
	if err != nil {
		return err
	}
	for _, p := range problems {
		c.warn(p.String())
	}
	var cfg *config.Config
	if c.Expand {
		if cfg, _, err = c.load(); err != nil {
			return err
		}
	}
	patterns := c.Names
	if len(patterns) == 0 {
		patterns = []string{"*"}
	}
	for _, p := range patterns {
		most := 3
		if c.Master {
			most = 2
		}
		pattern, err := split(p, most)
		if err != nil {
			return err
		}
		found := false
		for i := range all {
			e := &all[i]
			if !e.matches(pattern) {
				continue
			}
			shown, err := c.showEntry(cfg, e, pattern)
			if err != nil {
				return err
			}
			found = found || shown
		}
		if !found && len(c.Names) > 0 {
			c.warn(fmt.Sprintf("unmatched request: %q", p))
		}
	}
	return nil
}

// showEntry prints an entry, or those of its fields or parameters that match, and says
// whether there were any.
func (c *command) showEntry(cfg *config.Config, e *entry, pattern []string) (bool, error) {
	third := "*"
	if len(pattern) == 3 {
		third = pattern[2]
	}
	if cfg != nil {
		var err error
		if cfg, err = cfg.ForService(e.parsed); err != nil {
			return false, err
		}
	}
	shown := false
	switch {
	case c.Master:
		if cfg != nil {
			for _, o := range e.settings() {
				if v, err := cfg.Expand(o.value); err == nil {
					e.set(o.name, v)
				}
			}
		}
		fmt.Fprintln(c.out, e.text(c.Fold))
		shown = true
	case c.Field:
		for i, field := range columns {
			if third == "*" || third == field {
				value := e.words[i]
				if field == "command" {
					value = e.words[i]
					for _, w := range e.words[i+1:] {
						value += " " + tight(w)
					}
				}
				c.print(cfg, e.name()+"/"+field, value)
				shown = true
			}
		}
	case c.Parameter:
		options := e.settings()
		slices.SortStableFunc(options, func(a, b option) int { return strings.Compare(a.name, b.name) })
		for _, o := range options {
			if third == "*" || third == o.name {
				c.print(cfg, e.name()+"/"+o.name, o.value)
				shown = true
			}
		}
		shown = shown || third == "*" // an entry without parameters is no error
	}
	return shown, nil
}
