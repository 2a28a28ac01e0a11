package header

import "bytes"

// Opening decides what stands between the fields that a mail system puts in front of content
// and the content, as Postfix does: an empty line before a first line that begins with white
// space, which else would continue the last field, and "X-Mailbox-Line: " before the first
// line of a mailbox file ("From " behind any number of ">"), which else would end the header.
// The zero Opening is at the beginning of a message.
type Opening struct {
	known bool
	held  []byte
}

// Take takes the next piece of content, eof says that nothing comes behind it, and returns
// what is to be written: nothing until it is known how the content begins, b as it is
// afterwards.
func (o *Opening) Take(b []byte, eof bool) []byte {
	if o.known {
		return b
	}
	if len(o.held) > 0 {
		b = append(o.held, b...)
	}
	add, known := opening(b)
	if !known && !eof {
		o.held = append([]byte(nil), b...)
		return nil
	}
	o.known, o.held = true, nil
	if add == "" {
		return b
	}
	return append([]byte(add), b...)
}

var fromSpace = []byte("From ")

func opening(b []byte) (add string, known bool) {
	rest := bytes.TrimLeft(b, ">")
	switch {
	case len(b) > 0 && blank(b[0]):
		return "\r\n", true
	case bytes.HasPrefix(rest, fromSpace):
		return "X-Mailbox-Line: ", true
	case len(b) <= maxName && bytes.HasPrefix(fromSpace, rest):
		return "", false
	}
	return "", true
}
