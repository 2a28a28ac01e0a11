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
	p := parser{in: value, limit: limit}
	err := p.list()
	for _, f := range p.found {
		dst = append(dst, mail.Address(p.words[f.lo:f.hi]))
	}
	return dst, err
}

// parser reads every byte once.
type parser struct {
	in     []byte
	i      int
	words  []byte // of all addresses found, in internal form, and behind them the one being read
	found  []spot
	first  int // found[first:] may still turn out to be a phrase or a group's name
	start  int // of the word in words
	at     int // where the word begins in the text
	end    int // and ends
	inWord bool
	limit  int
	tokens int
}

// spot is an address found: where it stands in the text, and in words.
type spot struct {
	at, end int
	lo, hi  int
	crowded bool // nothing but white space or a comment stands before it and the address before
}

func (p *parser) list() error {
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
			p.first = len(p.found)
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
			return ErrTooMany
		}
	}
	p.endWord()
	return nil
}

// joins says whether c goes on with the word before it although white space
// stands between: around "." and "@" that is allowed.
func (p *parser) joins(c byte) bool {
	if c == '.' || c == '@' {
		return true
	}
	n := len(p.words)
	return n > p.start && (p.words[n-1] == '.' || p.words[n-1] == '@')
}

// piece takes a quoted string, a domain literal or a run of other bytes into the
// word, in internal form.
func (p *parser) piece(c byte) {
	if !p.inWord {
		p.inWord, p.at = true, p.i
	}
	defer func() { p.end = p.i }()
	switch c {
	case '"':
		p.i++
		p.until('"', false)
	case '[':
		p.until(']', true)
	case '.', '@':
		p.words = append(p.words, c)
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
		p.words = append(p.words, c)
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
			if len(p.words) == p.start || p.words[p.start] != '@' {
				p.endAngle()
				return
			}
			p.i++
		case ':': // end of a route
			p.words, p.inWord = p.words[:p.start], false
			p.i++
		case '<':
			if !p.inWord {
				p.inWord, p.at = true, p.i
			}
			p.words = append(p.words, c)
			p.i++
			p.end = p.i
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
	p.first = len(p.found)
}

// endWord makes an address of the word. "@route" alone, and nothing, is none.
func (p *parser) endWord() {
	if p.inWord && len(p.words) > p.start && p.words[p.start] != '@' {
		p.found = append(p.found, spot{p.at, p.end, p.start, len(p.words), len(p.found) > p.first})
		p.start = len(p.words)
	}
	p.words, p.inWord = p.words[:p.start], false
}

// forget drops what has been read since the last separator.
func (p *parser) forget() {
	p.found = p.found[:p.first]
	p.start = 0
	if p.first > 0 {
		p.start = p.found[p.first-1].hi
	}
	p.words, p.inWord = p.words[:p.start], false
}
