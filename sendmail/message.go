package sendmail

import (
	"io"

	"postrider/lib/header"
	"postrider/lib/mail"
)

// top is the beginning of a message: its header, as it will be sent, and what was
// found in it.
type top struct {
	content    []byte // header without Bcc, and what was read of the body
	recipients []mail.Address
	received   int
}

// readTop reads to the end of the header. The addresses of To, Cc and Bcc, or of
// the Resent- fields when there are any, are collected and Bcc fields dropped when
// extract is set. limit bounds the header in bytes, 0 does not.
func readTop(in *input, extract bool, limit int) (*top, error) {
	t := &top{}
	var sum header.Summary
	var plain, resent []mail.Address
	s := header.Scanner{Limit: 1 << 62} // addresses are never cut off; limit bounds the whole
	var buf []byte
	for size := 0; ; {
		f, n, st := s.Next(buf, in.done)
		switch st {
		case header.End:
			t.content = append(t.content, buf...)
			t.received = sum.Received
			if t.recipients = plain; sum.Resent {
				t.recipients = resent
			}
			return t, nil
		case header.More:
			before := len(buf)
			var err error
			if buf, err = in.next(buf); err != nil && err != io.EOF {
				return nil, err
			}
			if size += len(buf) - before; limit > 0 && size > limit {
				return nil, errTooBig
			}
			continue
		}
		buf = buf[n:]
		sum.Add(f)
		if extract {
			switch {
			case f.Is("To"), f.Is("Cc"), f.Is("Bcc"):
				plain, _ = header.Addresses(plain, f.Value(), 0)
			case f.Is("Resent-To"), f.Is("Resent-Cc"), f.Is("Resent-Bcc"):
				resent, _ = header.Addresses(resent, f.Value(), 0)
			}
			if f.Is("Bcc") || f.Is("Resent-Bcc") {
				continue
			}
		}
		t.content = append(t.content, f.Raw...)
	}
}
