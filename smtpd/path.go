package smtpd

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"postrider/lib/mail"
)

// path is the address of a MAIL or RCPT command, as it stands between the brackets.
type path struct {
	text  []byte
	bare  bool // without a domain, and not empty
	ascii bool
}

// cutPath takes the path off the argument of MAIL FROM: or RCPT TO:. Brackets may be
// missing unless strict. It returns the parameters behind it, or false when there is
// no path (RFC 5321, section 4.1.2); whether it is a good one, mailbox says.
func cutPath(arg []byte, strict bool) (p path, params []byte, ok bool) {
	arg = trim(arg)
	bracket := len(arg) > 0 && arg[0] == '<'
	if bracket {
		arg = arg[1:]
	} else if strict || len(arg) == 0 {
		return p, nil, false
	}
	quoted := false
	end := -1
	for i := 0; i < len(arg); i++ {
		switch c := arg[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (bracket && c == '>' || !bracket && blank(c)):
			end = i
		}
		if end >= 0 {
			break
		}
	}
	switch {
	case end >= 0:
		p.text, params = arg[:end], arg[end:]
		if bracket {
			params = params[1:]
		}
		if len(params) > 0 && !blank(params[0]) {
			return p, nil, false
		}
	case bracket:
		return p, nil, false
	default:
		p.text = arg
	}
	p.text = trim(p.text)
	mailbox := p.text
	if len(mailbox) > 0 && mailbox[0] == '@' { // a source route
		mailbox = mailbox[bytes.IndexByte(mailbox, ':')+1:]
	}
	p.bare, p.ascii, quoted = len(mailbox) > 0, true, false
	for i := 0; i < len(mailbox); i++ {
		switch c := mailbox[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && c == '@':
			p.bare = false
		}
	}
	for _, c := range p.text {
		p.ascii = p.ascii && c < utf8.RuneSelf
	}
	return p, trim(params), true
}

// noDotString are the characters that a local part without quotes has not.
const noDotString = "()<>[]:;\\,\" \t"

// mailbox returns the address without its source route and without the quotes of the local
// part, as everything behind smtpd has it. It is false when there is no local part or no
// domain where there must be one; what the domain is like, validDomain says.
func (p path) mailbox() (string, bool) {
	s := p.text
	if len(s) == 0 {
		return "", true
	}
	if s[0] == '@' {
		i := bytes.IndexByte(s, ':')
		if i < 0 {
			return "", false
		}
		s = s[i+1:]
	}
	var local, domain []byte
	if len(s) > 0 && s[0] == '"' {
		if local, domain = unquote(s[1:]); domain == nil {
			return "", false
		}
	} else {
		end := bytes.IndexByte(s, '@')
		if end < 0 {
			end = len(s)
		}
		local, domain = s[:end], s[end:]
		if bytes.ContainsAny(local, noDotString) {
			return "", false
		}
	}
	switch {
	case len(local) == 0:
		return "", false
	case p.bare:
		return string(local), len(domain) == 0
	case len(domain) < 2 || domain[0] != '@' || bytes.ContainsAny(domain, " \t>"):
		return "", false
	}
	b := make([]byte, 0, maxAddress)
	return string(append(append(b, local...), domain...)), true
}

// unquote takes the text of a quoted string, behind its first quote, apart from what
// follows, which is nil when the string does not end.
func unquote(s []byte) (text, rest []byte) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return text, s[i+1 : len(s) : len(s)]
		case '\\':
			if i++; i == len(s) {
				return nil, nil
			}
		}
		text = append(text, s[i])
	}
	return nil, nil
}

// mailParams are the parameters of MAIL. AUTH is not taken.
type mailParams struct {
	size int64
	body mail.Body
	utf8 bool

	envID, ret string // RFC 3461
	verp       string // XVERP
	verpWord   []byte // as it was given; nil: not at all

	priority    int8 // RFC 6710
	hasPriority bool
}

// parse reads the parameters (RFC 5321, 4.1.1.11). The reply is zero when they are good.
func (m *mailParams) parse(params []byte) reply {
	*m = mailParams{}
	for len(params) > 0 {
		var word []byte
		word, params = cutWord(params)
		key, value, has := bytes.Cut(word, []byte{'='})
		switch {
		case has && fold(key, "SIZE"): // RFC 1870
			n, ok := parseSize(value)
			if !ok {
				return reply{501, "5.5.4", "Bad message size syntax"}
			}
			m.size = n
		case has && fold(key, "BODY") && fold(value, "8BITMIME"): // RFC 6152
			m.body = mail.Body8Bit
		case has && fold(key, "BODY") && fold(value, "7BIT"):
			m.body = mail.Body7Bit
		case !has && fold(key, "SMTPUTF8"): // RFC 6531
			m.utf8 = true
		case has && fold(key, "RET"): // RFC 3461, 4.3
			if m.ret != "" || !fold(value, "FULL") && !fold(value, "HDRS") {
				return reply{501, "5.5.4", "Bad RET parameter syntax"}
			}
			m.ret = strings.ToUpper(string(value))
		case fold(key, "XVERP"): // Postfix's VERP_README
			if m.verp, m.verpWord = string(value), word; has && len(value) == 0 {
				m.verp = "=" // which no filter takes
			}
		case has && fold(key, "ENVID"): // 4.4
			if _, ok := mail.Unxtext(string(value)); !ok || m.envID != "" || len(value) == 0 {
				return reply{501, "5.5.4", "Bad ENVID parameter syntax"}
			}
			m.envID = string(value)
		case has && fold(key, "MT-PRIORITY"): // RFC 6710
			n, err := strconv.ParseInt(string(value), 10, 8)
			if err != nil || n < -9 || n > 9 || m.hasPriority || value[0] == '+' {
				return reply{501, "5.5.2", "Bad MT-PRIORITY parameter syntax"}
			}
			m.priority, m.hasPriority = int8(n), true
		default:
			return unsupported(word)
		}
	}
	return reply{}
}

// rcptParams are the parameters of RCPT (RFC 3461).
type rcptParams struct {
	notify mail.Notify
	orcpt  string
}

func (r *rcptParams) parse(params []byte) reply {
	*r = rcptParams{}
	for len(params) > 0 {
		var word []byte
		word, params = cutWord(params)
		key, value, has := bytes.Cut(word, []byte{'='})
		switch {
		case has && fold(key, "NOTIFY"): // 4.1
			n, ok := mail.ParseNotify(string(value))
			if !ok || r.notify != 0 {
				return reply{501, "5.5.4", "Error: Bad NOTIFY parameter syntax"}
			}
			r.notify = n
		case has && fold(key, "ORCPT"): // 4.2
			if r.orcpt != "" || !mail.ParseORCPT(string(value)) {
				return reply{501, "5.5.4", "Error: Bad ORCPT parameter syntax"}
			}
			r.orcpt = string(value)
		default:
			return unsupported(word)
		}
	}
	return reply{}
}

// parseSize reads a number; one that is too large to be represented is the largest.
func parseSize(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 20 { // RFC 1870, section 3
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		n = math.MaxInt64
	}
	return n, true
}

func unsupported(word []byte) reply {
	return reply{555, "5.5.4", "Unsupported option: " + string(word)}
}

// cutWord takes the first word off b, which begins with one.
func cutWord(b []byte) (word, rest []byte) {
	i := 0
	for i < len(b) && !blank(b[i]) {
		i++
	}
	return b[:i], trim(b[i:])
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

func trim(b []byte) []byte {
	for len(b) > 0 && blank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && blank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// fold says whether b is s, which is in upper case, but for the case of letters.
func fold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}
