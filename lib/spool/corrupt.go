package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// save copies bytes [from, to) of f into corrupt/NAME, with the reason beside
// it, and syncs both, so that what they belong to may be finished (S5).
func (q *Queue) save(name, reason string, f io.ReaderAt, from, to int64) error {
	q.o.Logf("warning: saved to %s/%s: %s", dirCorrupt, name, reason)
	w, err := q.create(dirCorrupt + "/" + name)
	if err != nil {
		return err
	}
	defer w.Close()
	buf := make([]byte, 64<<10)
	for off := from; off < to && err == nil; {
		n, rerr := f.ReadAt(buf[:min(int64(len(buf)), to-off)], off)
		if n == 0 && rerr == io.EOF {
			break
		}
		if n == 0 { // a bad sector: its place stays empty
			n = int(min(4096-off%4096, to-off))
			clear(buf[:n])
		}
		_, err = w.WriteAt(buf[:n], off-from)
		off += int64(n)
	}
	if err == nil {
		err = w.Sync()
	}
	if err != nil {
		return err
	}
	why, err := q.create(dirCorrupt + "/" + name + ".reason")
	if err != nil {
		return err
	}
	defer why.Close()
	now := q.o.Now() // before the clock is started
	if !q.clock.spool.IsZero() {
		now = q.Wall(q.clock.spool)
	}
	text := fmt.Sprintf("%s\n%s\n", now.UTC().Format(time.RFC3339), reason)
	if _, err = why.WriteAt([]byte(text), 0); err == nil {
		err = why.Sync()
	}
	if err == nil {
		err = q.fs.SyncDir(dirCorrupt)
	}
	return err
}

// Keep saves a file that is none of the spool's to corrupt/NAME, with the reason, and
// syncs both. It blocks.
func (q *Queue) Keep(name, reason string, f io.ReaderAt, size int64) error {
	return q.save(name, reason, f, 0, size)
}

func (q *Queue) create(name string) (disk.File, error) {
	f, err := q.fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		if err = f.Truncate(0); err != nil {
			f.Close()
		}
	}
	return f, err
}

// Corrupt copies the record of an open message to corrupt/ID, with a .reason,
// and finishes the message. After an error it is still open.
func (q *Queue) Corrupt(m *Message, reason string) error {
	if q.open[m.Ref] != m {
		return nil
	}
	if q.alive(m.Ref) {
		if err := q.corrupt(m.Ref, string(m.Envelope.ID), m.place, m.Large, m.content, reason); err != nil {
			return err
		}
	}
	q.letGo(m)
	return nil
}

// corrupt does so for any message.
func (q *Queue) corrupt(ref slot.Ref, id string, kill place, large string, at contentSpan, reason string) error {
	e, err := q.files.get(at)
	if err == nil {
		var size int64
		if size, err = e.f.Size(); err == nil && at.record < slot.DataStart {
			// Nobody knows where it was: all that is damaged is saved.
			_, err = scanIndex(q.fs, at.name, at.h, size, q.saveDamage)
		} else if err == nil {
			s := slot.NewScanner(e.f, at.h, size)
			s.MoveTo(at.record)
			s.Durable = size
			var to int64
			var d *slot.Damage
			if rec, serr := s.Next(); serr == nil {
				to = rec.End()
			} else if errors.As(serr, &d) {
				to = d.To
			}
			err = q.save(id, reason, e.f, at.record, to)
		}
		q.files.put(e)
	} else if notExist(err) {
		q.o.Logf("warning: %s is lost: %s", id, reason)
		err = nil
	}
	if err == nil && large != "" {
		err = q.saveLarge(id, large, reason)
	}
	if err == nil {
		q.finishNow(ref, kill, large)
	}
	return err
}

func (q *Queue) saveLarge(id, large, reason string) error {
	return q.saveFile(id+".content", reason, dirContent+"/"+large)
}

// saveFile saves a whole file, if it is there.
func (q *Queue) saveFile(name, reason, file string) error {
	f, err := q.fs.OpenFile(file, os.O_RDONLY, 0)
	if notExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	return q.save(name, reason, f, 0, size)
}

// saveDamage saves a damaged part of a content or store file.
func (q *Queue) saveDamage(f disk.File, d *slot.Damage) error {
	name := fmt.Sprintf("%s.%d", strings.ReplaceAll(f.Name(), "/", "."), d.From)
	if d.Record != nil {
		name = string(d.Record.ID)
	}
	return q.save(name, d.Error(), f, d.From, d.To)
}

// damagedState saves a part of a run that is lost. Whom it was about is found
// out by a search for messages that no state record names.
func (q *Queue) damagedState(r *run, f disk.File, err error) {
	var d *slot.Damage
	if !errors.As(err, &d) {
		d = &slot.Damage{To: r.length, Reason: err.Error()}
	}
	name := fmt.Sprintf("%v.%d.%d", r.kind(), r.number, d.From)
	if err := q.save(name, err.Error(), f, d.From, d.To); err != nil {
		q.o.Logf("warning: %v", err)
	}
	if d.Record != nil {
		q.killNow(place{r.number, d.Record.Ref.Slot})
	}
	q.space.orphans = true
}

// badState does so for one record, when that is the reason it cannot be read;
// another error is returned.
func (q *Queue) badState(r *run, number uint32, offset int64, err error) error {
	if notExist(err) {
		q.lostRun(r, err)
		return nil
	}
	if !errors.Is(err, slot.ErrDamage) && !errors.Is(err, ErrDamaged) {
		return err
	}
	f, oerr := q.fs.OpenFile(r.name(), os.O_RDONLY, 0)
	if oerr != nil {
		return oerr
	}
	defer f.Close()
	name := fmt.Sprintf("%v.%d.%d", r.kind(), r.number, offset)
	if err := q.save(name, err.Error(), f, offset, offset+slot.HeaderSize); err != nil {
		return err
	}
	q.killNow(place{r.number, number})
	q.space.orphans = true
	return nil
}

// killNow logs that a state record is dead whose message is not known.
func (q *Queue) killNow(p place) {
	q.log.end(appendFinish(q.log.begin(), slot.Ref{}, p, ""))
	q.kill(p)
}

// lostRun gives up a run whose file is gone.
func (q *Queue) lostRun(r *run, err error) {
	q.o.Logf("warning: %d deferred messages have lost their state and go on hold: %v", r.live(), err)
	for n := range r.slots {
		r.dead.set(n)
	}
	r.ndead = r.slots
	q.space.orphans = true
	q.checkRun(r)
}
