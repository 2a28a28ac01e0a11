package mailq

import (
	"bufio"
	"fmt"
	"io"
	"unicode/utf8"

	"postrider/lib/proto"
)

// JSON writes one object a line. Make one with NewJSON and end it with Close. A
// message that comes in several items becomes one object.
type JSON struct {
	w    *bufio.Writer
	last proto.Item
	open bool
	n    int // recipients of the open object
	b    []byte
}

// NewJSON writes to w.
func NewJSON(w io.Writer) *JSON { return &JSON{w: bufio.NewWriter(w)} }

// Item adds a message, or more recipients of the one before when the id is the same.
func (j *JSON) Item(it *proto.Item) {
	if !j.open || it.ID != j.last.ID || it.Queue != j.last.Queue {
		j.end()
		j.last, j.open = proto.Item{ID: it.ID, Queue: it.Queue}, true
		fmt.Fprintf(j.w, `{"queue_name": %s, "queue_id": %s, "arrival_time": %d, "message_size": %d, "forced_expire": %t, "sender": %s, "recipients": [`,
			j.quote(it.Queue), j.quote(string(it.ID)), it.Arrival.Unix(), it.Size, it.Expired, j.quote(it.Sender.External()))
	}
	for i := range it.Recipients {
		r := &it.Recipients[i]
		if j.n > 0 {
			j.w.WriteString(", ")
		}
		j.n++
		fmt.Fprintf(j.w, `{"address": %s`, j.quote(r.Address.External()))
		if r.Reason != "" {
			fmt.Fprintf(j.w, `, "delay_reason": %s`, j.quote(r.Reason))
		}
		fmt.Fprintf(j.w, `, "attempts": %d`, r.Attempts)
		if !r.Next.IsZero() {
			fmt.Fprintf(j.w, `, "next_attempt": %d`, r.Next.Unix())
		}
		if r.Waits != "" {
			fmt.Fprintf(j.w, `, "waits_for": %s`, j.quote(string(r.Waits)))
		}
		j.w.WriteByte('}')
	}
}

func (j *JSON) end() {
	if j.open {
		j.w.WriteString("]}\n")
	}
	j.open, j.n = false, 0
}

// Close ends the last line and reports any error of the writer.
func (j *JSON) Close() error {
	j.end()
	return j.w.Flush()
}

// quote writes a JSON string as Postfix does: what cannot be printed becomes "?".
func (j *JSON) quote(s string) string {
	b := append(j.b[:0], '"')
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < ' ' || r == 0x7f || r == utf8.RuneError && n == 1:
			b = append(b, '?')
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	j.b = append(b, '"')
	return string(j.b)
}
