package qmgr

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"postrider/lib/ipc"
	"postrider/lib/maildrop"
	"postrider/lib/proto"
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

// condemnFile saves what cleanup will not read any more to corrupt/. The descriptor
// is the frame's.
func (m *manager) condemnFile(j *journal, f *ipc.Frame) error {
	var c proto.Condemn
	if err := c.Decode(f.Payload); err != nil || len(f.FDs) != 1 || !maildrop.ValidName(c.Name) {
		f.CloseFDs()
		return fmt.Errorf("condemned file: %w", ipc.ErrFrame)
	}
	file := os.NewFile(uintptr(f.FDs[0]), c.Name)
	m.post(func() {
		defer file.Close()
		answer := proto.Condemned{Name: c.Name}
		st, err := file.Stat()
		if err == nil && !st.Mode().IsRegular() {
			err = errors.New("no regular file")
		}
		if err == nil {
			err = m.spool.Keep(maildrop.Dir+"."+c.Name, suspected+c.Reason, file, st.Size())
		}
		if err != nil {
			answer.Text = err.Error()
		}
		go j.conn.Send(proto.TypeCondemned, &answer)
	})
	return nil
}
