package cleanup

import (
	"context"
	"slices"

	"postrider/lib/address"
	"postrider/lib/header"
	"postrider/lib/mail"
)

// edit replaces n bytes of the header at a place in message.buf. Edits are collected and
// made all at once: a header of thousands of fields costs no more for it.
type edit struct {
	at, n int
	text  []byte
}

// field makes the edits that one field needs; it ends where m.scanned is. Fields of
// message_drop_headers go, whoever wrote them: Bcc is nobody's business. Addresses are
// completed and looked up for mail of this machine, or of clients that
// local_header_rewrite_clients or remote_header_rewrite_domain speak of. One over the
// limits stays as it is.
func (m *message) field(f header.Field) {
	at := m.scanned - len(f.Raw)
	if c := m.inspected(); c != nil && !m.passed {
		if f.Is("Content-Type") && m.kind == "" {
			m.kind = string(f.Text(nil))
		}
		o := m.inspectField(c, f)
		if o.prepend != "" {
			m.edits = append(m.edits, edit{at: at, text: []byte(o.prepend + "\r\n")})
		}
		switch {
		case o.drop:
			m.edits = append(m.edits, edit{at: at, n: len(f.Raw)})
			m.dropping = f.Cut
			return
		case o.replace != "":
			m.edits = append(m.edits, edit{at: at, n: len(f.Raw), text: []byte(o.replace + "\r\n")})
			m.dropping = f.Cut
			return
		}
	}
	if slices.ContainsFunc(m.set.drop, f.Is) {
		m.edits = append(m.edits, edit{at: at, n: len(f.Raw)})
		m.dropping = f.Cut
		return
	}
	if m.rewrite == nil || f.Cut {
		return
	}
	where := address.PlaceOf(f)
	if where == 0 {
		return
	}
	mapper := m.set.mapper
	if mapper != nil && !mapper.Changes(where) {
		mapper = nil
	}
	value := f.Value()
	text, err := m.list.Rewrite(value, m.set.tokenLimit, func(word []byte) (to mail.Address, yes bool, err error) {
		if mapper == nil && address.Complete(word) {
			return "", false, nil
		}
		was := mail.Address(word)
		if to = m.rewrite(was); mapper != nil {
			to, err = mapper.Canonical(context.Background(), to, where)
		}
		return to, to != was, err
	})
	switch {
	case err != nil:
		m.unmapped(err)
	case text != nil:
		m.edits = append(m.edits, edit{at: at + f.ValueAt(), n: len(value), text: text})
	}
}

// rest drops what is left of a dropped field that was over header_size_limit: the n bytes
// at m.scanned.
func (m *message) rest(n int) {
	if m.dropping && n > 0 {
		m.edits = append(m.edits, edit{at: m.scanned, n: n})
	}
}

// apply makes the edits; all lie before m.scanned.
func (m *message) apply() {
	if len(m.edits) == 0 {
		return
	}
	grown := 0
	for _, e := range m.edits {
		grown += len(e.text) - e.n
	}
	out := make([]byte, 0, max(cap(m.buf), len(m.buf)+grown))
	done := 0
	for _, e := range m.edits {
		out = append(append(out, m.buf[done:e.at]...), e.text...)
		done = e.at + e.n
	}
	m.buf = append(out, m.buf[done:]...)
	m.scanned += grown
	clear(m.edits)
	m.edits = m.edits[:0]
}
