package config

import "strings"

// Setting is one "name = value" of main.cf, not expanded.
type Setting struct {
	Name, Value string
	File        string
	Line        int // of its first line
}

// ParseMain reads the text of a main.cf by Postfix's rules (postconf(5)): a
// line that starts with a blank continues the one before; empty lines and
// lines whose first character is "#" are dropped, also between continuations;
// the last setting of a name wins. It returns one setting a name, in the order
// of their (last) appearance in the file.
func ParseMain(file, text string) ([]Setting, Problems) {
	var (
		settings []Setting
		problems Problems
		at       = map[string]int{}
	)
	Lines(text, func(line int, s string) {
		if blank(s[0]) {
			problems = append(problems, Problem{Warning, file, line,
				"the file starts with a continuation line, which is left out"})
			return
		}
		name, value, ok := strings.Cut(s, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !ok:
			problems = append(problems, Problem{Fatal, file, line,
				`missing '=' after attribute name: "` + clip(name) + `"`})
			return
		case name == "":
			problems = append(problems, Problem{Fatal, file, line, "missing attribute name before '='"})
			return
		case strings.ContainsAny(name, " \t\r\n"):
			problems = append(problems, Problem{Fatal, file, line,
				`whitespace inside attribute name: "` + clip(name) + `"`})
			return
		}
		if i, again := at[name]; again {
			if old := settings[i].Value; old != value {
				problems = append(problems, Problem{Warning, file, line,
					"overriding earlier entry: " + name + "=" + clip(old)})
			}
			settings[i].Name = ""
		}
		at[name] = len(settings)
		settings = append(settings, Setting{name, value, file, line})
	})
	kept := settings[:0]
	for _, s := range settings {
		if s.Name != "" {
			kept = append(kept, s)
		}
	}
	return kept, problems
}

// Lines calls f with each logical line of text, in the syntax that main.cf,
// master.cf and the sources of tables share, and the number of its first
// physical line. The parts are joined as they are, leading blanks
// included, so that the words of a list stay apart. A line that starts with a
// blank comes through only at the very start of the file.
func Lines(text string, f func(line int, s string)) {
	var (
		parts []string
		start int
	)
	flush := func() {
		if parts != nil {
			f(start, strings.Join(parts, ""))
		}
		parts = nil
	}
	n := 0
	for len(text) > 0 {
		var s string
		s, text, _ = strings.Cut(text, "\n")
		n++
		s = strings.TrimRight(s, " \t\r\v\f")
		if t := strings.TrimLeft(s, " \t\r\v\f"); t == "" || t[0] == '#' {
			continue
		}
		if !blank(s[0]) || parts == nil {
			flush()
			start = n
		}
		parts = append(parts, s)
	}
	flush()
}

func blank(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// clip shortens text for a message.
func clip(s string) string {
	if len(s) > 100 {
		return s[:97] + "..."
	}
	return s
}
