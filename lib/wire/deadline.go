package wire

import "time"

// deadline is the one that a connection has now, for reads or for writes. A dialogue of
// short waits would set it anew for each; this one gives a wait a little more time than
// asked for, and stays while that is enough for the next.
type deadline struct{ until time.Time }

// next returns the deadline for a wait of d that begins now, and whether it has to be set.
// The wait gets d at least, and at most a sixteenth of it, or a second, more. It never
// has to for a d of 0, which is for ever.
func (t *deadline) next(d time.Duration) (until time.Time, late bool) {
	if d <= 0 {
		return time.Time{}, false
	}
	more := min(d/16, time.Second)
	if left := time.Until(t.until); left < d || left > d+more {
		t.until = time.Now().Add(d + more)
		return t.until, true
	}
	return t.until, false
}
