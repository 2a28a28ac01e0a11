package table

import (
	"errors"
	"fmt"
	"strings"

	"postrider/lib/config"
)

// parseText reads the source syntax of postmap(1): a key, blanks, a value; a
// key in double quotes may hold blanks; lines are continued and commented as in
// main.cf. Bad lines are left out and told of in the error; of two lines with
// one key the first holds, as in postmap.
func parseText(path, text string) (memory, error) {
	var (
		m    = memory{}
		errs problems
	)
	config.Lines(text, func(line int, s string) {
		key, value, err := cutKey(strings.TrimLeft(s, " \t"))
		value = strings.TrimSpace(value)
		switch {
		case err != nil:
			errs.bad(path, line, err.Error())
		case key == "" || value == "":
			errs.bad(path, line, "expected format: key whitespace value")
		default:
			m.first(key, value, path, line, &errs)
		}
	})
	return m, errs.err()
}

// first puts key unless it is there.
func (m memory) first(key, value, path string, line int, errs *problems) {
	key = strings.ToLower(key)
	if _, ok := m[key]; ok {
		errs.add(path, line, fmt.Sprintf("duplicate entry: %q", key))
		return
	}
	m[key] = value
}

// cutKey takes the key off a line: up to a blank, or in double quotes, where a
// backslash takes the next byte as it is.
func cutKey(s string) (key, rest string, err error) {
	if s == "" || s[0] != '"' {
		if i := strings.IndexAny(s, " \t"); i >= 0 {
			return s[:i], s[i:], nil
		}
		return s, "", nil
	}
	key, n, err := unquote(s)
	return key, s[n:], err
}

// unquote reads the quoted string that s starts with, and says how long it is.
func unquote(s string) (text string, n int, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), i + 1, nil
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", len(s), errors.New("a double quote without its partner")
}

// problems collects what is wrong with the lines of a file, up to a number
// that a log can take.
type problems struct {
	list   []error
	more   int
	broken bool // not only with lines that come twice
}

// bad adds a line that cannot be understood.
func (p *problems) bad(path string, line int, text string) {
	p.broken = true
	p.add(path, line, text)
}

func (p *problems) add(path string, line int, text string) {
	if len(p.list) >= 20 {
		p.more++
		return
	}
	p.list = append(p.list, fmt.Errorf("%s, line %d: %s", path, line, text))
}

func (p *problems) err() error {
	if p.more > 0 {
		p.list = append(p.list, fmt.Errorf("and %d more", p.more))
		p.more = 0
	}
	err := errors.Join(p.list...)
	if p.broken {
		return badText{err}
	}
	return err
}

// badText is an error of kind ErrText that says no more than what is wrong.
type badText struct{ error }

func (b badText) Unwrap() []error { return []error{b.error, ErrText} }
