package mail

import (
	"strings"
	"sync"
	"time"
)

// QueueID names a message on this node for ever. It has the form of Postfix's
// long ids (enable_long_queue_ids): the seconds since the epoch in base 52, at
// least six digits; the microseconds in base 52, four digits; a "z"; and a
// number in base 51 that tells the processes apart that give ids at the same
// time. Ids sort by time.
type QueueID string

// idDigits are the 52 letters and digits of Postfix's long queue ids; "z", the
// last of them, is no digit in base 51.
const idDigits = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"

// maxID bounds the length of anything taken for a queue id.
const maxID = 64

// Valid says whether id could be a queue id: letters, digits and "_" only, at
// most 64 of them.
func (id QueueID) Valid() bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for i := 0; i < len(id); i++ {
		c := id[i]
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_') {
			return false
		}
	}
	return true
}

// Time returns the moment the id was given, or false when it is no long id.
func (id QueueID) Time() (time.Time, bool) {
	z := strings.LastIndexByte(string(id), 'z')
	if z < 10 || len(id) > maxID {
		return time.Time{}, false
	}
	sec, ok1 := parseBase52(string(id[:z-4]))
	usec, ok2 := parseBase52(string(id[z-4 : z]))
	if !ok1 || !ok2 || usec >= 1e6 || sec > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(sec, usec*1000), true
}

// IDs gives queue ids. Two generators alive on one node at the same time need
// different numbers; the process id serves. The zero value may be used, with
// number 0. Safe for concurrent use.
type IDs struct {
	Number uint64 // tells this generator from others

	mu   sync.Mutex
	last int64 // microseconds since the epoch of the newest id
}

// Next returns an id that this generator never gave before: its time is that
// of now, or one microsecond later than the last, so ids stay unique and in
// order when the clock steps back.
func (g *IDs) Next(now time.Time) QueueID {
	us := now.UnixMicro()
	g.mu.Lock()
	if us <= g.last {
		us = g.last + 1
	}
	g.last = us
	g.mu.Unlock()

	var a [32]byte
	b := appendBase(a[:0], uint64(us/1e6), 52, 6)
	b = appendBase(b, uint64(us%1e6), 52, 4)
	b = append(b, 'z')
	b = appendBase(b, g.Number, 51, 1)
	return QueueID(b)
}

func appendBase(b []byte, n uint64, base uint64, width int) []byte {
	var a [16]byte
	i := len(a)
	for n > 0 || len(a)-i < width {
		i--
		a[i] = idDigits[n%base]
		n /= base
	}
	return append(b, a[i:]...)
}

func parseBase52(s string) (int64, bool) {
	var n int64
	for i := 0; i < len(s); i++ {
		d := strings.IndexByte(idDigits, s[i])
		if d < 0 || n > 1<<52 {
			return 0, false
		}
		n = n*52 + int64(d)
	}
	return n, true
}
