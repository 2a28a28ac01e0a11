package command

import (
	"fmt"
	"io"
	"time"

	"postrider/test/ledger"
)

// report prints the counts, each a pair of a message and a recipient.
func report(w io.Writer, t *trial, v ledger.Verdict) {
	fmt.Fprintf(w, "\n%d messages of %d bytes to %d recipients each, in %v\n\n", t.sent.Load(), t.o.Length, t.o.Recipients,
		time.Since(t.begun).Round(time.Millisecond))
	for _, l := range []struct {
		name  string
		count int
		means string
	}{
		{"acknowledged", v.Acked, "250 after the final dot"},
		{"unknown", v.Unknown, "the connection was lost after the final dot"},
		{"refused", v.Rejected, "a reply of class 4 or 5, or the connection was lost before the dot"},
		{"delivered", v.Delivered, ""},
		{"bounced", v.Bounced, "the sender got a report"},
		{"queued", v.Queued, "still in the queue"},
		{"recovered", len(v.Recovered), "unknown, and delivered or queued: allowed"},
		{"duplicates", len(v.Duplicates), "delivered once more: allowed after a crash, for what was in hand"},
		{"lost", len(v.Lost), "acknowledged, and found nowhere"},
		{"unexpected", len(v.Unexpected), "delivered or queued, though refused or never sent"},
		{"mixed", len(v.Mixed), "delivered with another content"},
		{"truncated", len(v.Truncated), "delivered with a shorter content"},
	} {
		fmt.Fprintf(w, "%-13s %9d   %s\n", l.name, l.count, l.means)
	}
	if n := t.foreign.Load(); n > 0 {
		fmt.Fprintf(w, "\n%d messages of earlier runs came, too.\n", n)
	}
}
