package smtp

import (
	"context"

	"postrider/lib/address"
	"postrider/lib/header"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

// outward gives the envelope the addresses that others know (smtp_generic_maps). The log
// and qmgr go on with those of this machine. ok is false when a table cannot be asked:
// nobody is told an address that is of no use to him.
func (d *delivery) outward() (ok bool) {
	g := d.st.generic
	if g == nil {
		d.sender = d.r.Sender
		return true
	}
	var err error
	if d.sender, err = g.Address(d.ctx, d.r.Sender); err == nil {
		d.others = make([]mail.Address, len(d.r.Recipients))
		for i := range d.r.Recipients {
			if d.others[i], err = g.Address(d.ctx, d.r.Recipients[i].Address); err != nil {
				break
			}
		}
	}
	if err != nil {
		d.log.Warnf("%s: %v", d.r.Queue, err)
	}
	return err == nil
}

// to is the address of a recipient as the server hears it.
func (d *delivery) to(r *proto.DeliverRecipient, i int) mail.Address {
	if d.others != nil {
		return d.others[i]
	}
	return r.Address
}

// genericHeader gives the addresses in a header the form that others know. It may be given
// content in any pieces, and holds back a field until it has it whole.
type genericHeader struct {
	set     *settings
	warn    func(err error)
	scanner header.Scanner
	list    header.List
	held    []byte
	body    bool // what comes now is no header
}

// newGenericHeader is nil where nothing is to be rewritten.
func (d *delivery) newGenericHeader() *genericHeader {
	if d.st.generic == nil {
		return nil
	}
	return &genericHeader{set: d.st, scanner: header.Scanner{Limit: d.st.headerLimit},
		warn: func(err error) { d.log.Warnf("%s: %v", d.r.Queue, err) }}
}

// Append appends src to dst, rewritten; eof says that nothing comes behind it.
func (h *genericHeader) Append(dst, src []byte, eof bool) []byte {
	if h.body {
		return append(dst, src...)
	}
	h.held = append(h.held, src...)
	at := 0
	for !h.body {
		f, n, st := h.scanner.Next(h.held[at:], eof)
		dst = append(dst, h.held[at:at+n-len(f.Raw)]...)
		at += n
		if st == header.More {
			h.held = h.held[:copy(h.held, h.held[at:])]
			return dst
		}
		if st == header.Found {
			dst = h.field(dst, f)
		}
		h.body = st == header.End
	}
	dst = append(dst, h.held[at:]...)
	h.held = nil
	return dst
}

// field appends one field. One over header_size_limit stays as it is, and so does an
// address of which a table cannot say what becomes of it.
func (h *genericHeader) field(dst []byte, f header.Field) []byte {
	if f.Cut || len(f.Raw) >= h.scanner.Limit || address.PlaceOf(f) == 0 {
		return append(dst, f.Raw...)
	}
	value := f.Value()
	text, _ := h.list.Rewrite(value, h.set.tokenLimit, func(word []byte) (to mail.Address, yes bool, _ error) {
		was := mail.Address(word)
		to, err := h.set.generic.Address(context.Background(), was)
		if err != nil {
			h.warn(err)
		}
		return to, err == nil && to != was, nil
	})
	if text == nil {
		return append(dst, f.Raw...)
	}
	at := f.ValueAt()
	dst = append(append(dst, f.Raw[:at]...), text...)
	return append(dst, f.Raw[at+len(value):]...)
}
