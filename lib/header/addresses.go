package header

import (
	"errors"

	"postrider/lib/mail"
)

// DefaultTokens is how many words and separators of one address list are looked
// at in mail of strangers (header_address_token_limit).
const DefaultTokens = 10240

// ErrTooMany says that an address list has more tokens than the limit.
var ErrTooMany = errors.New("header: address list over the token limit")

// Addresses appends the mailboxes in value, the text of a To, Cc or Bcc field, to
// dst in internal form. It reads what RFC 5322 allows, the obsolete forms too
// (comments, groups, quoted strings, routes, white space anywhere), and of anything
// else makes the most useful sense: words without a comma between are addresses of
// their own. Phrases, group names, routes and empty addresses are dropped. After
// limit tokens, unless it is 0, it stops with ErrTooMany and what it has so far.
func Addresses(dst []mail.Address, value []byte, limit int) ([]mail.Address, error) {
	p := parser{in: value, out: dst, first: len(dst), limit: limit}
	return p.list()
}

// parser reads every byte once.
type parser struct {
	in     []byte
	i      int
	out    []mail.Address
	first  int // out[first:] may still turn out to be a phrase or a group's name
	word   []byte
	inWord bool
	limit  int
	tokens int
}

func (p *parser) list() ([]mail.Address, error) {
	gap := false // white space or a comment since the word's last byte
	for p.i < len(p.in) {
		c := p.in[p.i]
		switch c {
		case ' ', '\t', '\r', '\n':
			gap = true
			p.i++
			continue
		case '(':
			gap = true
			p.comment()
			continue
		case ',', ';':
			p.i++
			p.endWord()
			p.first = len(p.out)
		case ':':
			p.i++
			p.forget() // a group's name, or a route outside angle brackets
		case '<':
			p.i++
			p.forget()
			p.angle()
		case '>': // one too many
			p.i++
			p.endWord()
		default:
			if gap && !p.joins(c) {
				p.endWord()
			}
			p.piece(c)
		}
		gap = false
		if p.tokens++; p.limit > 0 && p.tokens > p.limit {
			p.endWord()
			return p.out, ErrTooMany
		}
	}
	p.endWord()
	return p.out, nil
}

// joins says whether c goes on with the word before it although white space
// stands between: around "." and "@" that is allowed.
func (p *parser) joins(c byte) bool {
	if c == '.' || c == '@' {
		return true
	}
	n := len(p.word)
	return n > 0 && (p.word[n-1] == '.' || p.word[n-1] == '@')
}

// piece takes a quoted string, a domain literal or a run of other bytes into the
// word, in internal form.
func (p *parser) piece(c byte) {
	p.inWord = true
	switch c {
	case '"':
		p.i++
		p.until('"', false)
	case '[':
		p.until(']', true)
	case '.', '@':
		p.word = append(p.word, c)
		p.i++
	default:
		for p.i < len(p.in) {
			c := p.in[p.i]
			switch c {
			case ' ', '\t', '\r', '\n', '(', ',', ';', ':', '<', '>', '"', '[', '.', '@':
				return
			case '\\': // outside quotes, but what it means is clear
				p.i++
				if p.i == len(p.in) {
					return
				}
				c = p.in[p.i]
			}
			p.keep(c)
			p.i++
		}
	}
}

// until takes everything up to end, escapes undone, and passes over end; whole
// keeps end itself.
func (p *parser) until(end byte, whole bool) {
	for ; p.i < len(p.in); p.i++ {
		c := p.in[p.i]
		if c == end {
			if whole {
				p.keep(c)
			}
			p.i++
			return
		}
		if c == '\\' && p.i+1 < len(p.in) {
			p.i++
			c = p.in[p.i]
		}
		p.keep(c)
	}
}

// keep takes one byte unless it is a control character, which no address has.
func (p *parser) keep(c byte) {
	if c >= ' ' && c != 0x7f {
		p.word = append(p.word, c)
	}
}

// comment passes over a comment. Depth is a number, so nesting costs nothing.
func (p *parser) comment() {
	for depth := 0; p.i < len(p.in); p.i++ {
		switch p.in[p.i] {
		case '\\':
			p.i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				p.i++
				return
			}
		}
	}
	p.i = len(p.in) // also when an escape ended it
}

// angle reads the inside of angle brackets: white space means nothing in there. A
// comma ends it when the ">" was forgotten; in a route it belongs there.
func (p *parser) angle() {
	for p.i < len(p.in) {
		c := p.in[p.i]
		switch c {
		case ' ', '\t', '\r', '\n':
			p.i++
			continue
		case '(':
			p.comment()
			continue
		case '>':
			p.i++
			p.endAngle()
			return
		case ',', ';':
			if len(p.word) == 0 || p.word[0] != '@' {
				p.endAngle()
				return
			}
			p.i++
		case ':': // end of a route
			p.word = p.word[:0]
			p.i++
		case '<':
			p.word = append(p.word, c)
			p.i++
		default:
			p.piece(c)
		}
		if p.tokens++; p.limit > 0 && p.tokens > p.limit {
			break // list says so
		}
	}
	p.endAngle()
}

func (p *parser) endAngle() {
	p.endWord()
	p.first = len(p.out)
}

// endWord makes an address of the word. "@route" alone, and nothing, is none.
func (p *parser) endWord() {
	if p.inWord && len(p.word) > 0 && p.word[0] != '@' {
		p.out = append(p.out, mail.Address(p.word))
	}
	p.word, p.inWord = p.word[:0], false
}

// forget drops what has been read since the last separator.
func (p *parser) forget() {
	p.word, p.inWord = p.word[:0], false
	p.out = p.out[:p.first]
}
