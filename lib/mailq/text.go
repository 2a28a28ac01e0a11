package mailq

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"postrider/lib/proto"
)

// Text writes the traditional listing. Make one with NewText and end it with Close.
type Text struct {
	w     *bufio.Writer
	last  proto.Item
	first bool
	count int
	bytes int64
	why   string
	null  string
}

// NewText writes to w. null stands for the null sender (empty_address_recipient).
func NewText(w io.Writer, null string) *Text {
	return &Text{w: bufio.NewWriter(w), first: true, null: null}
}

// Item adds a message, or more recipients of the one before when the id is the same.
func (t *Text) Item(it *proto.Item) {
	if t.first || it.ID != t.last.ID || it.Queue != t.last.Queue {
		t.head(it)
	}
	for i := range it.Recipients {
		r := &it.Recipients[i]
		if why := printable(r.Reason); why != t.why {
			if why == "" {
				why = "reason unavailable"
			}
			fmt.Fprintf(t.w, "%*s(%s)\n", max(76-len(why), 0), "", why)
			t.why = printable(r.Reason)
		}
		fmt.Fprintf(t.w, "%-17s %8s %-19s %s\n", "", "", "", printable(r.Address.External()))
	}
}

func (t *Text) head(it *proto.Item) {
	if t.first {
		fmt.Fprintf(t.w, "%-17s %8s %-19s %s\n", "----Queue ID-----", "--Size--", "---Arrival Time----", "--Sender/Recipient------")
	} else {
		fmt.Fprintln(t.w)
	}
	t.first, t.why = false, ""
	t.last = proto.Item{ID: it.ID, Queue: it.Queue}
	t.count++
	t.bytes += it.Size
	id := string(it.ID)
	switch it.Queue {
	case "active":
		id += "*"
	case "hold":
		id += "!"
	}
	if it.Expired {
		id += "#"
	}
	sender := t.null
	if it.Sender != "" {
		sender = it.Sender.External()
	}
	at := it.Arrival.Local().Format("Mon Jan _2 15:04:05 2006")
	fmt.Fprintf(t.w, "%-17s %8d %19.19s %s\n", id, it.Size, at, printable(sender))
}

// Close writes the last line and reports any error of the writer.
func (t *Text) Close() error {
	switch {
	case t.first:
		fmt.Fprintln(t.w, "Mail queue is empty")
	case t.count == 1:
		fmt.Fprintf(t.w, "\n-- %d Kbytes in 1 Request.\n", t.bytes/1024)
	default:
		fmt.Fprintf(t.w, "\n-- %d Kbytes in %d Requests.\n", t.bytes/1024, t.count)
	}
	return t.w.Flush()
}

// printable makes what came from strangers harmless to a terminal.
func printable[T ~string](s T) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return '?'
		}
		return r
	}, string(s))
}
