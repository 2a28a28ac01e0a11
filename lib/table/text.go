package table

import (
	"errors"
	"fmt"
	"strings"

	"postrider/lib/config"
)

// parseText reads the source syntax of postmap(1) into memory; of two lines with one
// key the first holds, as in postmap.
func parseText(path, text string) (memory, error) {
	m := memory{}
	err := ReadSource(path, text, false, func(key, value string) bool {
		key = strings.ToLower(key)
		_, twice := m[key]
		if !twice {
			m[key] = value
		}
		return !twice
	})
	return m, err
}

// ReadSource reads the text of a table and calls put with each key and value; put says
// whether it took them, else the line is told of as a duplicate.
//
// The syntax is that of postmap(1): a key, blanks, a value; a key in double quotes may
// hold blanks; lines are continued and commented as in main.cf. With alias it is that
// of aliases(5): "name: target, target", the value as it is written, for ParseTargets.
// Lines that cannot be understood are left out and told of in the error, which is then
// of kind ErrText.
func ReadSource(path, text string, alias bool, put func(key, value string) bool) error {
	var errs problems
	cut := cutEntry
	if alias {
		cut = cutAlias
	}
	config.Lines(text, func(line int, s string) {
		key, value, err := cut(strings.TrimLeft(s, " \t"))
		if err != nil {
			errs.bad(path, line, err.Error())
		} else if !put(key, value) {
			errs.add(path, line, fmt.Sprintf("duplicate entry: %q", strings.ToLower(key)))
		}
	})
	return errs.err()
}

// cutEntry divides a line of postmap(1).
func cutEntry(s string) (key, value string, err error) {
	key, value, err = cutKey(s)
	if value = strings.TrimSpace(value); err == nil && (key == "" || value == "") {
		err = errors.New("expected format: key whitespace value")
	}
	return key, value, err
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
