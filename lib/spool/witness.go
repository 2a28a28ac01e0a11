package spool

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/mutant"
	"postrider/lib/slot"
)

// Witness is how far a spool had come, as somebody outside of its directory remembers
// it. A spool that has not come so far is a copy from before, which a backup or a
// snapshot of the disk brought back: what it has may have been delivered since, and the
// copy does not know. Then all that it has is put on hold, and nothing is sent again
// without an operator.
type Witness struct {
	Spool  uint64 // which one: the number in its file identity
	Log    uint64 // number of the log that was written to
	Key    uint64 // of that file
	Length int64  // how much of it was durable
}

const identityFile = "identity"

// identify reads which spool this is, and makes a number for one that has none yet.
func (q *Queue) identify(fresh bool) {
	b, err := disk.ReadAll(q.fs, identityFile, 0)
	if err != nil && !notExist(err) {
		q.o.Logf("warning: %v", err)
		return
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(string(b), "\n"), 16, 64)
	if err == nil && !fresh {
		q.identity = n
		return
	}
	n = slot.NewKey()
	if err := q.writeSmall(identityFile, fmt.Sprintf("%016x\n", n)); err != nil {
		q.o.Logf("warning: %v", err) // the next start will do it
		return
	}
	if fresh {
		q.identity = n // of an older one nobody has a witness by that number
		return
	}
	q.renamed = n
}

// Witness returns how far the spool is, and false when that is not certain now. What it
// says is durable here: it may be written down anywhere else.
func (q *Queue) Witness() (Witness, bool) {
	w := q.log.proven
	if w.Log == 0 || q.log.failed || q.log.unsure {
		return Witness{}, false
	}
	w.Spool = cmp.Or(q.identity, q.renamed)
	return w, true
}

// older says why the spool is not the one that a witness saw, or "". replayed has the
// ends of the logs that were replayed.
func (q *Queue) older(w *Witness, replayed map[uint64]int64) string {
	if w == nil || w.Log == 0 || mutant.On(mutant.OldIsNew) {
		return ""
	}
	newest := q.ckpt.top
	for n := range q.ckpt.logs {
		if !slices.Contains(q.ckpt.free, q.ckpt.logs[n]) {
			newest = max(newest, n)
		}
	}
	for _, n := range q.ckpt.have {
		newest = max(newest, n)
	}
	end, was := replayed[w.Log]
	key, there := q.ckpt.keys[w.Log]
	switch {
	case q.identity != 0 && w.Spool != 0 && q.identity != w.Spool:
		return "this is another queue than the one used here before"
	case there && key != w.Key:
		return fmt.Sprintf("its log %d is not the one written here before", w.Log)
	case was && end < w.Length:
		return fmt.Sprintf("its log %d ends at %d, and was at %d before", w.Log, end, w.Length)
	case !was && newest < w.Log:
		return fmt.Sprintf("its newest log is %d, and was %d before", newest, w.Log)
	}
	return ""
}

// restored is about a spool that was brought back from before.
type restored struct {
	is bool
	at time.Time // wall time of the start; maildrop/ had come back, too
}

// holdAll puts on hold whatever is unfinished. What is in the journal and was not tailed
// yet follows when it is (holdTailed).
func (q *Queue) holdAll(why string) {
	q.restored = restored{true, q.o.Now()}
	n := 0
	for _, c := range q.contents {
		var slots []uint32
		end := func() {
			if len(slots) > 0 {
				q.log.endSlots(appendSlots(q.log.begin(), entHold, c.number, slots), c.number, slots)
				n, slots = n+len(slots), slots[:0]
			}
		}
		for s := range c.slots {
			if !c.dead.has(s) && c.held.set(s) {
				if slots = append(slots, s); len(slots) == entrySlots {
					end()
				}
			}
		}
		end()
	}
	q.o.Logf("warning: this queue was brought back from an earlier time: %s. What it has may have been delivered since: all of it is put on hold (%d messages, and what the journal has besides). Look at it with postqueue -p; postsuper -H releases, postsuper -d deletes", why, n)
}

// holdTailed puts a message on hold that came so (HOLD of an access table or of a check of
// the content), or that a spool from before had in its journal or in maildrop/.
func (q *Queue) holdTailed(c *contentFile, m *Message) {
	if q.tail.again || !m.Envelope.Hold && !q.restored.is {
		return
	}
	dead := q.restored.is && (q.tail.first == 0 || c.number < q.tail.first)
	dropped := q.restored.is && m.Envelope.Origin == mail.FromMaildrop && m.Envelope.Arrival.Before(q.restored.at)
	if (m.Envelope.Hold || dead || dropped) && c.held.set(m.Ref.Slot) {
		slots := []uint32{m.Ref.Slot}
		q.log.endSlots(appendSlots(q.log.begin(), entHold, c.number, slots), c.number, slots)
		m.Held = true
	}
}

// WitnessFile keeps a Witness, in two places that are written in turn: one that was being
// written when the power went is not whole, and the other counts.
type WitnessFile struct {
	f          disk.File
	generation uint64 // of the newest that is whole
}

const (
	witnessFile  = "queue.witness"
	witnessMagic = "PRseen1\n"
	witnessSize  = len(witnessMagic) + 5*8 + 4
	witnessApart = 4096 // no lost sector takes both
)

// errWitness is the kind of error of a place that holds no whole Witness.
var errWitness = fmt.Errorf("%w: %s", ErrDamaged, witnessFile)

// OpenWitness opens the file in the directory fsys, which is not the spool's, makes it
// if need be, and returns what it says: nil when it says nothing yet.
func OpenWitness(fsys disk.FS) (*WitnessFile, *Witness, error) {
	f, err := fsys.OpenFile(witnessFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	x := &WitnessFile{f: f}
	w, err := x.read()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return x, w, nil
}

// ReadWitness is OpenWitness for who writes nothing. A file that is not there says nil.
func ReadWitness(fsys disk.FS) (*Witness, error) {
	f, err := fsys.OpenFile(witnessFile, os.O_RDONLY, 0)
	if notExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return (&WitnessFile{f: f}).read()
}

func (x *WitnessFile) read() (*Witness, error) {
	var best *Witness
	for place := range int64(2) {
		b := make([]byte, witnessSize)
		if _, err := x.f.ReadAt(b, place*witnessApart); errors.Is(err, io.EOF) {
			continue
		} else if err != nil {
			return nil, err
		}
		if generation, w, err := decodeWitness(b); err == nil && generation > x.generation {
			x.generation, best = generation, w
		}
	}
	return best, nil
}

// Write replaces what the file says. It is durable at the return without an error.
func (x *WitnessFile) Write(w Witness) error {
	b := []byte(witnessMagic)
	for _, n := range []uint64{x.generation + 1, w.Spool, w.Log, w.Key, uint64(w.Length)} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	if _, err := x.f.WriteAt(sumUp(b), int64(x.generation+1)%2*witnessApart); err != nil {
		return err
	}
	if err := x.f.Sync(); err != nil {
		return err
	}
	x.generation++
	return nil
}

// Close closes the file.
func (x *WitnessFile) Close() error { return x.f.Close() }

func decodeWitness(b []byte) (generation uint64, w *Witness, err error) {
	n := len(b) - 4
	if string(b[:len(witnessMagic)]) != witnessMagic || string(sumUp(slices.Clone(b[:n]))) != string(b) {
		return 0, nil, errWitness
	}
	at := func(i int) uint64 { return binary.LittleEndian.Uint64(b[len(witnessMagic)+8*i:]) }
	return at(0), &Witness{at(1), at(2), at(3), int64(at(4))}, nil
}
