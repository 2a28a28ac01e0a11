package postconf

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"postrider/lib/config"
)

// editMaster changes master.cf: -M replaces, adds, removes or comments out whole
// entries, -F sets a field, -P sets or removes a parameter. All other lines stay as they
// are. The result has to be a master.cf.
func (c *command) editMaster() error {
	if len(c.Names) == 0 {
		return errors.New("nothing to change: write SERVICE/TYPE...=VALUE, or SERVICE/TYPE with -X or -#")
	}
	if c.Comment && !c.Master || c.Remove && c.Field {
		return errors.New("-# goes with -M only, and -X not with -F")
	}
	path := filepath.Join(c.dir, "master.cf")
	return rewrite(path, func(text string) (string, error) {
		for _, arg := range c.Names {
			var err error
			if text, err = c.changeMaster(path, text, arg); err != nil {
				return "", err
			}
		}
		if _, problems := config.ParseMaster(path, text); problems.Err() != nil {
			return "", problems.Err()
		}
		return text, nil
	})
}

// changeMaster carries out one argument.
func (c *command) changeMaster(path, text, arg string) (string, error) {
	all, _, err := entries(path, text)
	if err != nil {
		return "", err
	}
	pattern, value, has := strings.Cut(arg, "=")
	pattern, value = strings.TrimSpace(pattern), strings.TrimSpace(value)
	if has == (c.Remove || c.Comment) {
		if has {
			return "", fmt.Errorf("-X and -# take a name alone: %q", arg)
		}
		return "", fmt.Errorf("missing '=' after name: %q", arg)
	}
	want := 3
	if c.Master {
		want = 2
	}
	parts, err := split(pattern, want)
	if err != nil {
		return "", err
	}
	if len(parts) != want {
		return "", fmt.Errorf("%q: write SERVICE/TYPE%s", pattern, map[bool]string{true: "/NAME"}[want == 3])
	}
	if strings.ContainsAny(value, "\r\n") {
		return "", fmt.Errorf("a value of one line is needed: %q", arg)
	}
	found := false
	lines := strings.Split(text, "\n")
	for i := len(all) - 1; i >= 0; i-- { // from the end, so that the lines before stay where they are
		e := &all[i]
		if !e.matches(parts) {
			continue
		}
		found = true
		switch {
		case c.Comment:
			for _, n := range e.lines {
				lines[n] = "#" + lines[n]
			}
			continue
		case c.Remove && c.Master:
			e.words = nil
		case c.Remove:
			e.unset(parts[2])
		case c.Master:
			e.words = words(value)
		case c.Field:
			if err := e.setField(parts[2], value); err != nil {
				return "", err
			}
		default:
			e.set(parts[2], value)
		}
		if e.words != nil && len(e.words) < len(columns) {
			return "", fmt.Errorf("%q: eight columns are needed: service type private unpriv chroot wakeup maxproc command", value)
		}
		lines = e.replace(lines)
	}
	text = strings.Join(lines, "\n")
	switch {
	case found:
	case c.Master && !c.Remove && !c.Comment:
		e := entry{words: words(value)}
		if len(e.words) < len(columns) || !e.matches(parts) {
			return "", fmt.Errorf("%q: an entry for %s is needed, of eight columns", value, pattern)
		}
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		text += e.text(true) + "\n"
	default:
		c.warn(fmt.Sprintf("unmatched request: %q", pattern))
	}
	return text, nil
}

// replace puts the entry's words in the place of its lines; comments between them stay,
// behind it.
func (e *entry) replace(lines []string) []string {
	var out []string
	for n, line := range lines {
		switch {
		case n == e.line:
			if e.words != nil {
				out = append(out, e.text(true))
			}
		case !slices.Contains(e.lines, n):
			out = append(out, line)
		}
	}
	return out
}

func (e *entry) setField(field, value string) error {
	i := slices.Index(columns, field)
	if i < 0 {
		return fmt.Errorf("no field is called %q (%s)", field, strings.Join(columns, ", "))
	}
	w := words(value)
	if field == "command" && len(w) > 0 {
		e.words = append(e.words[:i:i], w...)
		return nil
	}
	if len(w) != 1 {
		return fmt.Errorf("one word is needed for %s: %q", field, value)
	}
	e.words[i] = w[0]
	return nil
}

// set makes -o name=value an option: in the place of the one that it has, or behind all
// others.
func (e *entry) set(name, value string) {
	setting := name + "=" + value
	if strings.ContainsAny(value, " \t") {
		setting = "{ " + name + " = " + value + " }"
	}
	at, n := len(columns), 0
	for _, o := range e.settings() {
		at, n = o.at+o.n, 0
		if o.name == name {
			at, n = o.at, o.n
			break
		}
	}
	e.words = slices.Replace(e.words, at, at+n, "-o", setting)
}

// unset removes every -o of the name.
func (e *entry) unset(name string) {
	for {
		all := e.settings()
		i := slices.IndexFunc(all, func(o option) bool { return o.name == name })
		if i < 0 {
			return
		}
		e.words = slices.Delete(e.words, all[i].at, all[i].at+all[i].n)
	}
}
