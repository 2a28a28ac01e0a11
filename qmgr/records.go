package qmgr

import (
	"fmt"
	"strconv"

	"postrider/lib/slot"
	"postrider/lib/spool"
	"postrider/lib/suspect"
)

// ofMessage is the third thing that a record of the spool can crash, beside
// spool.OfRecord and spool.OfState: what is done with a message when it is admitted.
const ofMessage = "message"

// records notes which message the owner is about to read, for the next qmgr, should
// this one die of it; and remembers of which messages earlier ones died. A nil
// *records does nothing.
type records struct {
	note    *suspect.Note
	strikes *suspect.Strikes
	key     []byte
}

func newRecords(n *suspect.Notes, s *suspect.Strikes) *records {
	return &records{note: n.Note(), strikes: s}
}

func (r *records) name(what string, ref slot.Ref) []byte {
	r.key = append(append(r.key[:0], what...), ' ')
	r.key = append(strconv.AppendUint(r.key, ref.File, 10), '.')
	r.key = strconv.AppendUint(r.key, uint64(ref.Slot), 10)
	return r.key
}

// reading says what is read next, or, with the zero Ref, that it went well.
func (r *records) reading(what string, ref slot.Ref) {
	switch {
	case r == nil:
	case ref == slot.Ref{}:
		r.note.Clear()
	default:
		r.note.Set(r.name(what, ref))
	}
}

// condemned says why something is not to be read any more, or "".
func (r *records) condemned(what string, ref slot.Ref) string {
	if r == nil {
		return ""
	}
	if x := r.strikes.Of(r.name(what, ref)); x.Count >= suspect.Guilty {
		return fmt.Sprintf("the queue manager died (%s) %d times while reading it, the last at %s", x.How, x.Count, x.Last.UTC().Format("2006-01-02 15:04:05"))
	}
	return ""
}

// fine lifts what suspicion there is against a message.
func (r *records) fine(ref slot.Ref) error {
	if r == nil {
		return nil
	}
	for _, what := range []string{spool.OfRecord, spool.OfState, ofMessage} {
		if key := r.name(what, ref); r.strikes.Of(key).Count > 0 {
			if err := r.strikes.Set(key, 0); err != nil {
				return err
			}
		}
	}
	return nil
}
