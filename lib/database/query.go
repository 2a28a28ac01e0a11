package database

import (
	"errors"
	"fmt"
	"strings"
)

// query is the query of a table with a parameter in the place of each expansion. In
// Postfix's syntax these stand within a text, '%s', and are escaped there; here the text
// is taken apart, ('a' || ? || 'b'), so that nothing has to be.
type query struct {
	text string
	args []byte // what the parameters are: s, u, d, 1 to 9
}

// parseQuery reads a query as sqlite_table(5) has it.
func parseQuery(s string) (query, error) {
	var q query
	var b strings.Builder
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '\'':
			text, n, err := q.literal(s[i:])
			if err != nil {
				return query{}, err
			}
			b.WriteString(text)
			i += n
		case c == '"' || c == '`' || c == '[':
			end := map[byte]byte{'[': ']'}[c]
			if end == 0 {
				end = c
			}
			n := strings.IndexByte(s[i+1:], end)
			if n < 0 {
				return query{}, fmt.Errorf("%c without its end", c)
			}
			name := s[i : i+n+2]
			if strings.IndexByte(name, '%') >= 0 {
				return query{}, fmt.Errorf("%s: a name cannot depend on the key; texts are in single quotes", name)
			}
			b.WriteString(name)
			i += len(name)
		case c == '%':
			if i+1 == len(s) {
				return query{}, errors.New("% at the end")
			}
			e := s[i+1]
			switch {
			case e == '%':
				b.WriteByte('%')
			case expansion(e):
				q.add(&b, e)
			default:
				return query{}, fmt.Errorf("%%%c is no expansion (%%s %%u %%d %%1 to %%9, %%%% for %%)", e)
			}
			i += 2
		case c == '?' || c == ';' || strings.HasPrefix(s[i:], "--") || strings.HasPrefix(s[i:], "/*"):
			if c == ';' && strings.TrimSpace(s[i+1:]) == "" {
				i = len(s)
				break
			}
			return query{}, fmt.Errorf("%q: parameters, comments and a second statement have no place in a query", s[i:min(i+10, len(s))])
		default:
			b.WriteByte(c)
			i++
		}
	}
	q.text = strings.TrimSpace(b.String())
	if q.text == "" {
		return query{}, errors.New("is empty")
	}
	return q, nil
}

func (q *query) add(b *strings.Builder, c byte) {
	b.WriteByte('?')
	if c >= 'A' {
		c |= 0x20 // in a query both cases are the same
	}
	q.args = append(q.args, c)
}

// literal reads the text in single quotes that s starts with, and says how long it is.
func (q *query) literal(s string) (sql string, n int, err error) {
	var pieces []string
	var text strings.Builder
	piece := func() {
		if text.Len() > 0 {
			pieces = append(pieces, "'"+text.String()+"'")
		}
		text.Reset()
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'' && i+1 < len(s) && s[i+1] == '\'':
			text.WriteString("''")
			i++
		case c == '\'':
			piece()
			switch len(pieces) {
			case 0:
				return "''", i + 1, nil
			case 1:
				return pieces[0], i + 1, nil
			}
			return "(" + strings.Join(pieces, " || ") + ")", i + 1, nil
		case c == '%' && i+1 < len(s) && s[i+1] == '%':
			text.WriteByte('%')
			i++
		case c == '%' && i+1 < len(s) && expansion(s[i+1]):
			piece()
			var b strings.Builder
			q.add(&b, s[i+1])
			pieces = append(pieces, b.String())
			i++
		case c == '%':
			return "", 0, errors.New("a % in a text is written %%")
		default:
			text.WriteByte(c)
		}
	}
	return "", 0, errors.New("a text without its end")
}

// values are those of the parameters; false: the key lacks one.
func (q *query) values(k *key) ([]any, bool) {
	list := make([]any, 0, len(q.args))
	for _, c := range q.args {
		v, ok := k.part(c)
		if !ok {
			return nil, false
		}
		list = append(list, v)
	}
	return list, true
}
