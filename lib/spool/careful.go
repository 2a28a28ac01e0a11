package spool

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"postrider/lib/slot"
)

// What is decoded, as Options.Reading and Options.Condemned are told.
const (
	OfRecord = "record" // a message's envelope
	OfState  = "state"  // its state record
)

// errCrashes says that a record is whole and crashes who decodes it. To all else it
// is damage: it goes to corrupt/.
var errCrashes = fmt.Errorf("%w: crashes its reader", ErrDamaged)

// careful decodes by f what belongs to a message. A panic is damage; a death of the
// process finds in Options.Reading what was being read, and the next process does not
// read it any more when that has happened too often.
func careful[T any](q *Queue, what string, ref slot.Ref, f func() (T, error)) (v T, err error) {
	if q.o.Condemned != nil {
		if why := q.o.Condemned(what, ref); why != "" {
			return v, fmt.Errorf("%w: %s", errCrashes, why)
		}
	}
	if q.o.Reading != nil {
		q.o.Reading(what, ref)
		defer q.o.Reading("", slot.Ref{})
	}
	defer func() {
		if p := recover(); p != nil {
			q.o.Logf("warning: panic while reading the %s of message %v: %v: %s", what, ref, p, strings.ReplaceAll(string(debug.Stack()), "\n", `\n`))
			err = fmt.Errorf("%w: panic: %v", errCrashes, p)
		}
	}()
	return f()
}

// largeOf names the content file of a record that is whole and crashes its reader.
func largeOf(rec *slot.Record, err error) string {
	if errors.Is(err, errCrashes) && rec.Flags&slot.FlagLarge != 0 && rec.ID.Valid() {
		return string(rec.ID)
	}
	return ""
}
