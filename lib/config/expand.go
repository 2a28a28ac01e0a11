package config

import (
	"strings"
)

// Limits of expansion. Both only stop a configuration that refers to itself or
// multiplies itself; no sane one comes near.
const (
	maxNesting  = 100
	maxExpanded = 1 << 20 // bytes made for one value, at all levels together
	perName     = 100     // what a reference counts besides its bytes, which may be none
)

// expander turns "$name" into values, lazily: a value is expanded when it is
// asked for, with the settings that hold then.
type expander struct {
	lookup func(name string) (raw string, ok bool) // as set, or the default
	set    func(name string) (raw string, ok bool) // only as set
	host   *Host
	dir    string // config_directory

	depth int
	made  int
}

// Expand replaces the references in text by what value says, as in main.cf ($name,
// ${name?text} and so on). The values themselves are not expanded.
func Expand(text string, value func(name string) string) (string, error) {
	e := expander{lookup: func(name string) (string, bool) {
		return strings.ReplaceAll(value(name), "$", "$$"), true
	}}
	return e.expand(text)
}

// param returns the expanded value of a parameter, or "" when it is not
// defined or does not expand (its own check reports that).
func (e *expander) param(name string) string {
	s, ok := e.lookup(name)
	if !ok {
		return ""
	}
	v, err := e.expand(s)
	if err != nil {
		return ""
	}
	return v
}

// expand returns s with all references replaced, recursively:
//
//	$name ${name} $(name)       the value, or nothing when undefined
//	$$                          a dollar sign
//	${name?text} ${name?{text}} text if the value is not empty
//	${name:text} ${name:{text}} text if the value is empty or undefined
//	${name?{a}:{b}}             a or b
//	${{l} OP {r}?{a}:{b}}       the same by comparison: == != < <= > >=, as
//	                            numbers when both are; <level and so on compare
//	                            versions part by part
func (e *expander) expand(s string) (string, error) {
	if strings.IndexByte(s, '$') < 0 {
		return s, nil
	}
	if e.depth++; e.depth > maxNesting {
		return "", errf("parameters refer to each other without end, or more than %d deep: %s", maxNesting, clip(s))
	}
	defer func() { e.depth-- }()
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '$' {
			j := strings.IndexByte(s[i:], '$')
			if j < 0 {
				j = len(s) - i
			}
			b.WriteString(s[i : i+j])
			i += j
			continue
		}
		i++
		var (
			v   string
			err error
		)
		switch {
		case i == len(s):
			return "", errf("nothing after '$' (write $$ for a dollar sign): %s", clip(s))
		case s[i] == '$':
			v = "$"
			i++
		case s[i] == '{' || s[i] == '(':
			end := closing(s[i:])
			if end < 0 {
				return "", errf("missing closing bracket: %s", clip(s[i-1:]))
			}
			v, err = e.braced(s[i+1 : i+end])
			i += end + 1
		default:
			n := nameLen(s[i:])
			if n == 0 {
				return "", errf("no name after '$' (write $$ for a dollar sign): %s", clip(s[i-1:]))
			}
			v, err = e.value(s[i : i+n])
			i += n
		}
		if err != nil {
			return "", err
		}
		if e.made += len(v); e.made > maxExpanded {
			return "", errf("the value grows without end: %s", clip(s))
		}
		b.WriteString(v)
	}
	return b.String(), nil
}

// value returns the expanded value of a name.
func (e *expander) value(name string) (string, error) {
	if e.made += perName; e.made > maxExpanded {
		return "", errf("the value grows without end at $%s", name)
	}
	raw, ok := e.lookup(name)
	if !ok {
		return "", nil
	}
	return e.expand(raw)
}

// braced expands what stands inside ${...}.
func (e *expander) braced(s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return "", errf("empty ${}")
	}
	if s[0] == '{' {
		return e.comparison(s)
	}
	n := nameLen(s)
	if n == 0 {
		return "", errf("no name in ${%s}", clip(s))
	}
	v, err := e.value(s[:n])
	if err != nil {
		return "", err
	}
	rest := strings.TrimLeft(s[n:], " \t\r\n")
	if rest == "" {
		return v, nil
	}
	return e.choose(v != "", rest)
}

// choose expands the right part of "?a:b", "?a" or ":b"; a part that is not
// there is empty.
func (e *expander) choose(yes bool, s string) (string, error) {
	switch s[0] {
	case '?':
		a, rest, err := branch(s[1:], true)
		if err != nil {
			return "", err
		}
		if rest != "" && rest[0] != ':' {
			return "", errf("expected ':' at: %s", clip(rest))
		}
		b := ""
		if rest != "" {
			if b, err = last(rest[1:]); err != nil {
				return "", err
			}
		}
		if yes {
			b = a
		}
		return e.expand(b)
	case ':':
		b, err := last(s[1:])
		if err != nil || yes {
			return "", err
		}
		return e.expand(b)
	}
	return "", errf("expected '?' or ':' at: %s", clip(s))
}

// branch takes one "{text}" or bare text off s and returns what follows it.
// Bare text goes to the end.
func branch(s string, more bool) (text, rest string, err error) {
	t := strings.TrimLeft(s, " \t\r\n")
	if t == "" || t[0] != '{' {
		return s, "", nil
	}
	end := closing(t)
	if end < 0 {
		return "", "", errf("missing '}': %s", clip(t))
	}
	rest = strings.TrimLeft(t[end+1:], " \t\r\n")
	if !more && rest != "" {
		return "", "", errf("unexpected text: %s", clip(rest))
	}
	return t[1:end], rest, nil
}

func last(s string) (string, error) {
	text, _, err := branch(s, false)
	return text, err
}

// comparison expands "{l} OP {r}" with its branches.
func (e *expander) comparison(s string) (string, error) {
	left, rest, err := branch(s, true)
	if err != nil {
		return "", err
	}
	n := strings.IndexByte(rest, '{')
	if n < 0 {
		return "", errf("expected a comparison and '{' after {%s}", clip(left))
	}
	op := strings.TrimSpace(rest[:n])
	right, rest, err := branch(rest[n:], true)
	if err != nil {
		return "", err
	}
	l, err := e.expand(left)
	if err != nil {
		return "", err
	}
	r, err := e.expand(right)
	if err != nil {
		return "", err
	}
	yes, err := compare(strings.TrimSpace(l), op, strings.TrimSpace(r))
	if err != nil {
		return "", err
	}
	if rest == "" {
		if yes {
			return "bool", nil
		}
		return "", nil
	}
	return e.choose(yes, rest)
}

func compare(l, op, r string) (bool, error) {
	base, level := strings.CutSuffix(op, "level")
	var c int
	switch {
	case level:
		c = compareLevels(l, r)
	case digits(l) && digits(r):
		c = compareNumbers(l, r)
	default:
		c = strings.Compare(l, r)
	}
	switch base {
	case "==":
		return c == 0, nil
	case "!=":
		return c != 0, nil
	case "<":
		return c < 0, nil
	case "<=":
		return c <= 0, nil
	case ">":
		return c > 0, nil
	case ">=":
		return c >= 0, nil
	}
	return false, errf("unknown comparison: %s", clip(op))
}

func compareNumbers(l, r string) int {
	l, r = strings.TrimLeft(l, "0"), strings.TrimLeft(r, "0")
	if len(l) != len(r) {
		return len(l) - len(r)
	}
	return strings.Compare(l, r)
}

// compareLevels compares versions such as 3.6 and 3.11 part by part.
func compareLevels(l, r string) int {
	for l != "" || r != "" {
		var a, b string
		a, l, _ = strings.Cut(l, ".")
		b, r, _ = strings.Cut(r, ".")
		if c := compareNumbers(a, b); c != 0 {
			return c
		}
	}
	return 0
}

func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// nameLen returns how much of s is a name that "$" can refer to.
func nameLen(s string) int {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
		default:
			return i
		}
	}
	return len(s)
}
