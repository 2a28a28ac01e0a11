package config

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is a parameter's expanded value with its parsed form.
type value struct {
	text string
	n    int64 // KindInt, and KindBool as 0 or 1
	d    time.Duration
	list []string
}

// parse reads text as a value of p.
func (p *Param) parse(text string) (v value, err error) {
	v.text = text
	if p.check != nil {
		if err := p.check(text); err != nil {
			return v, errf("bad value: %s = %s (%v)", p.Name, clip(text), err)
		}
	}
	switch p.Kind {
	case KindBool:
		switch {
		case strings.EqualFold(text, "yes"):
			v.n = 1
		case !strings.EqualFold(text, "no"):
			return v, errf("bad boolean configuration: %s = %s (write yes or no)", p.Name, clip(text))
		}
	case KindInt:
		v.n, err = strconv.ParseInt(text, 10, 64)
		if err != nil {
			return v, errf("bad numerical configuration: %s = %s (a number without a unit is needed)", p.Name, clip(text))
		}
		if v.n < p.Min {
			return v, errf("invalid %s parameter value %d < %d", p.Name, v.n, p.Min)
		}
		if p.Max != 0 && v.n > p.Max {
			return v, errf("invalid %s parameter value %d > %d", p.Name, v.n, p.Max)
		}
	case KindTime:
		v.d, err = parseTime(text, p.Unit)
		if err != nil {
			return v, errf("bad time configuration: %s = %s (a number and s, m, h, d or w)", p.Name, clip(text))
		}
		if p.Max != 0 && v.d > time.Duration(p.Max)*time.Second {
			return v, errf("invalid %s parameter value %s: at most %ds", p.Name, clip(text), p.Max)
		}
	case KindList, KindMatch:
		v.list, err = SplitList(text)
		if err != nil {
			return v, errf("%s: %v", p.Name, err)
		}
		for _, w := range v.list {
			if p.Words != nil && !slices.Contains(p.Words, w) {
				return v, errf("bad value in %s: %s (one of: %s)", p.Name, clip(w), strings.Join(p.Words, ", "))
			}
		}
	case KindString:
		if p.Words != nil && !slices.Contains(p.Words, text) {
			return v, errf("bad value: %s = %s (one of: %s)", p.Name, clip(text), strings.Join(p.Words, ", "))
		}
	}
	return v, nil
}

// parseTime reads a number with an optional unit: s, m, h, d, w (any case).
// Where the parameter's own unit is below a second, ms is a unit as well.
func parseTime(s string, unit time.Duration) (time.Duration, error) {
	digits := len(s)
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			digits = i
			break
		}
	}
	switch suffix := strings.ToLower(s[digits:]); {
	case suffix == "":
	case suffix == "s":
		unit = time.Second
	case suffix == "m":
		unit = time.Minute
	case suffix == "h":
		unit = time.Hour
	case suffix == "d":
		unit = day
	case suffix == "w":
		unit = 7 * day
	case suffix == "ms" && unit < time.Second:
		unit = time.Millisecond
	default:
		return 0, ErrConfig
	}
	n, err := strconv.ParseInt(s[:digits], 10, 64)
	if err != nil || n > int64(1<<63-1)/int64(unit) {
		return 0, ErrConfig
	}
	return time.Duration(n) * unit, nil
}

// SplitList divides a list value into its words: blanks and commas separate
// them, except inside braces. A word that is wholly in braces loses them.
func SplitList(s string) ([]string, error) { return splitWords(s, true) }

func splitWords(s string, commas bool) ([]string, error) {
	between := func(c byte) bool { return blank(c) || commas && c == ',' }
	var words []string
	for i := 0; i < len(s); {
		if between(s[i]) {
			i++
			continue
		}
		start, depth := i, 0
		for ; i < len(s) && (depth > 0 || !between(s[i])); i++ {
			switch s[i] {
			case '{':
				depth++
			case '}':
				depth--
				if depth < 0 {
					return nil, errf("'}' without '{' in: %s", clip(s))
				}
			}
		}
		if depth > 0 {
			return nil, errf("missing '}' in: %s", clip(s))
		}
		w := s[start:i]
		if w[0] == '{' && closing(w) == len(w)-1 {
			w = strings.TrimSpace(w[1 : len(w)-1])
		}
		words = append(words, w)
	}
	return words, nil
}

// closing returns the place of the bracket that closes the one s starts with,
// or -1.
func closing(s string) int {
	open, shut := s[0], byte('}')
	if open == '(' {
		shut = ')'
	}
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case open:
			depth++
		case shut:
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}
