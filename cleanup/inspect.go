package cleanup

import (
	"bytes"
	"context"
	"strings"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/header"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/table"
)

// checks are the tables that look at what a message says (header_checks(5)). They hold for
// what clients and users of this machine send, and not for what the mail system writes itself
// or sends on.
type checks struct {
	header, mime, nested, body table.Maps
	bodyLimit                  int // bytes of each part of the body that are looked at
	boundaries                 int // bytes of a boundary that count
	depth                      int // how deep parts may be in parts
}

// newChecks returns nil where there are none: mail then costs nothing more.
func newChecks(cfg *config.Config, open table.Opener, warn func(string, ...any)) *checks {
	o := address.TableOptions(cfg, open)
	maps := func(name string) table.Maps {
		m, err := table.Open(cfg.List(name), o)
		if err != nil {
			warn("%v", err)
		}
		return m
	}
	c := &checks{header: maps("header_checks"), mime: maps("mime_header_checks"), nested: maps("nested_header_checks"), body: maps("body_checks"),
		bodyLimit: cfg.Int("body_checks_size_limit"), boundaries: cfg.Int("mime_boundary_length_limit"), depth: cfg.Int("mime_nesting_limit")}
	if cfg.Bool("disable_mime_input_processing") {
		c.mime, c.nested = nil, nil
	}
	if len(c.header)+len(c.mime)+len(c.nested)+len(c.body) == 0 {
		return nil
	}
	return c
}

// inspected says whether the checks are for the message: not for what is in the queue already.
func (m *message) inspected() *checks {
	if from := m.env.Origin; from != mail.FromSMTP && from != mail.FromMaildrop || m.env.Replaces.ID != "" {
		return nil
	}
	return m.set.checks
}

// outcome is what becomes of a line.
type outcome struct {
	drop    bool
	replace string // "": it stays
	prepend string
}

// mimeField says whether a field is one of MIME's, which mime_header_checks are about.
func mimeField(f header.Field) bool {
	n := f.Name()
	return len(n) > 8 && strings.EqualFold(string(n[:8]), "content-") || f.Is("Mime-Version")
}

// inspectField looks at one field of the header.
func (m *message) inspectField(c *checks, f header.Field) outcome {
	maps := c.header
	if mimeField(f) {
		maps = c.mime
	}
	if len(maps) == 0 {
		return outcome{}
	}
	return m.inspect(maps, "header", logical(f.Raw))
}

// logical is a field as tables see it: its lines divided by LF, the last one without.
func logical(raw []byte) string {
	return strings.ReplaceAll(strings.TrimRight(string(raw), "\r\n"), "\r\n", "\n")
}

// inspect looks a line up and does what the table says.
func (m *message) inspect(maps table.Maps, where, line string) (o outcome) {
	value, found, err := maps.Lookup(context.Background(), line)
	if err != nil {
		m.s.log.Warnf("%s: %s checks: %v -- message not accepted, try again later", m.env.ID, where, err)
		m.refuse(&refusal{code: 451, dsn: "4.3.0", text: "Error: queue file write error"})
		return o
	}
	if !found {
		return o
	}
	action, text, _ := strings.Cut(strings.TrimSpace(value), " ")
	text = strings.TrimSpace(text)
	note := func(verb string) { m.note(verb, where, line, text) }
	bad := func(what string) {
		m.s.log.Warnf("%s: %s checks: %s in \"%.100s\"", m.env.ID, where, what, value)
	}
	switch strings.ToUpper(action) {
	case "DUNNO", "OK":
	case "REJECT":
		m.reject(where, line, text)
	case "WARN":
		note("warning")
	case "INFO":
		note("info")
	case "PASS":
		note("pass")
		m.passed = true
	case "IGNORE":
		o.drop = true
	case "STRIP":
		note("strip")
		o.drop = true
	case "HOLD":
		if !m.env.Hold && !m.env.Discard {
			note("hold")
			m.env.Hold = true
		}
	case "DISCARD":
		note("discard")
		m.env.Discard, m.passed = true, true
	case "REPLACE":
		if text == "" {
			bad("REPLACE action without text")
			break
		}
		note("replace")
		o.replace = text
	case "PREPEND":
		if text == "" {
			bad("PREPEND action without text")
			break
		}
		if where == "header" && !strings.Contains(text, ":") {
			bad("PREPEND needs a header field")
			break
		}
		note("prepend")
		o.prepend = text
	case "REDIRECT":
		if !strings.Contains(text, "@") {
			bad("bad REDIRECT destination")
			break
		}
		note("redirect")
		m.env.Redirect = mail.Address(text)
	case "BCC":
		if !strings.Contains(text, "@") {
			bad("bad BCC address")
			break
		}
		note("bcc")
		m.bcc = append(m.bcc, mail.Recipient{Address: mail.Address(text), Notify: mail.NotifyNever})
	case "FILTER":
		if !strings.Contains(text, ":") {
			bad("bad FILTER destination")
			break
		}
		note("filter")
		m.env.Filter = text
	default:
		bad("unknown command")
	}
	return o
}

// note writes what a check does into the log.
func (m *message) note(action, where, line, text string) {
	e := maillog.Content{Queue: m.env.ID, Action: action, Where: where, Line: line, Client: m.env.Client, Local: m.env.Origin != mail.FromSMTP,
		From: m.env.Sender, Text: text}
	if n := len(m.env.Recipients); n > 0 {
		e.To = m.env.Recipients[n-1].Address
	}
	m.s.log.Event(e)
}

// reject refuses the message for what it says: a client hears of it; what a user of this
// machine posted comes back to him.
func (m *message) reject(where, line, text string) {
	r := &refusal{code: 550, dsn: "5.7.1", text: text, said: true}
	if r.text == "" {
		r.text = "message content rejected"
	}
	if word, rest, _ := strings.Cut(r.text, " "); len(word) >= 5 && (word[0] == '4' || word[0] == '5') && word[1] == '.' && strings.Trim(word, ".0123456789") == "" {
		if r.dsn, r.text = word, strings.TrimSpace(rest); word[0] == '4' {
			r.code = 451
		}
	}
	m.note("reject", where, line, r.dsn+" "+r.text)
	if m.env.Origin == mail.FromMaildrop {
		m.env.Filter, m.passed = "error:5"+r.dsn[1:]+" "+r.text, true
		return
	}
	m.refuse(r)
}

// inspectBody begins to look at the body, and looks at what has come of it.
func (m *message) inspectBody(c *checks) {
	m.parts = newParts(m, c, m.kind)
	rest := m.buf[m.scanned:]
	if n := len(rest) - len(bytes.TrimPrefix(rest, crlfBytes)); n > 0 {
		m.scanned += n // the empty line is the header's
		rest = rest[n:]
	}
	if len(rest) > 0 {
		out := m.parts.write(bytes.Clone(rest))
		m.buf = append(m.buf[:m.scanned], out...)
	}
}

var crlfBytes = []byte("\r\n")
