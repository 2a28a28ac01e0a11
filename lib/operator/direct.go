package operator

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"postrider/lib/disk"
	"postrider/lib/extract"
	"postrider/lib/mail"
	"postrider/lib/maildrop"
	"postrider/lib/proto"
	"postrider/lib/spool"
)

// The names of the queues; what is not deferred and not on hold is incoming while
// nobody works on it.
const incoming = "incoming"

// maildropQueue holds what cleanup has not taken yet; no verb reaches it.
const maildropQueue = "maildrop"

// logSize is how large a log of the spool is made, in bytes: less than qmgr's, since a
// command writes little and waits for it.
const logSize = 4 << 20

type direct struct {
	q     *spool.Queue
	lock  *os.File
	drops []proto.Item // what sendmail left since the system is down
	err   error        // of a wish
}

// Direct opens the spool itself, while the mail system is down. It takes the lock,
// then calls become, which gives up what rights are not needed, and only then opens
// a file of the spool. The error is ErrRunning when somebody holds the lock.
//
// A queue directory that is not so far as data_directory says it was is a copy from
// before: what it has is put on hold, as qmgr would.
func Direct(dir, data string, become func() error) (Queue, error) {
	lock, err := takeLock(dir)
	if err != nil {
		return nil, err
	}
	drops := submissions(disk.OS(dir)) // whose directory the owner of the mail system cannot read
	if err := become(); err != nil {
		lock.Close()
		return nil, err
	}
	say := func(f string, a ...any) { fmt.Fprintf(os.Stderr, f+"\n", a...) }
	seen, err := spool.ReadWitness(disk.OS(data))
	if err != nil {
		say("warning: how far the queue was is not known: %v", err)
	}
	q, err := spool.Open(spool.Options{FS: disk.OS(dir), LogSize: logSize, Witness: seen, Logf: say})
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("queue directory %s: %w", dir, err)
	}
	d := &direct{q: q, lock: lock, drops: drops}
	if err := d.collect(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// dropsMax is how many submissions in maildrop/ are listed.
const dropsMax = 10000

// submissions lists what sendmail left in maildrop/ for cleanup, as far as it can be
// read.
func submissions(fsys disk.FS) []proto.Item {
	var items []proto.Item
	extract.Submissions(fsys, func(name string, s *maildrop.Submission, size int64) {
		if len(items) == dropsMax {
			return
		}
		it := proto.Item{Queue: maildropQueue, ID: mail.QueueID(name), Arrival: s.Time, Size: size, Sender: s.Sender}
		for _, r := range s.Recipients {
			it.Recipients = append(it.Recipients, proto.ItemRecipient{Address: r})
		}
		items = append(items, it)
	})
	return items
}

// collect files what cleanup had accepted and qmgr had not seen yet, so that the
// spool knows of every message.
func (d *direct) collect() error {
	if err := d.q.WriterGone(0); err != nil {
		return err
	}
	for {
		batch, err := d.q.Tail(256)
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, m := range batch {
			s := m.State
			g := spool.Group{Due: d.q.Now()}
			for i := range m.Envelope.Recipients {
				if !s.Done.Has(uint32(i)) {
					g.Recipients = append(g.Recipients, uint32(i))
				}
			}
			if len(g.Recipients) == 0 {
				d.q.Finish(m)
				continue
			}
			if len(s.Groups) == 0 {
				s.Groups = []spool.Group{g}
			}
			d.q.Put(m, s)
		}
		d.turn()
	}
}

// turn lets the spool do what it has to, without waiting.
func (d *direct) turn() {
	for {
		select {
		case f := <-d.q.Events():
			f()
		default:
			d.q.Commit()
			return
		}
	}
}

// sync waits until all decisions are durable.
func (d *direct) sync() error {
	var err error
	done := false
	d.q.Sync(func(e error) { err, done = e, true })
	d.q.Commit()
	for !done {
		(<-d.q.Events())()
		d.q.Commit()
	}
	return err
}

func (d *direct) Close() error {
	err := d.q.Close()
	return errors.Join(err, d.lock.Close())
}

// snapshot is of the messages with the ids, or of all when there is none.
func (d *direct) snapshot(ids []string) *spool.Snapshot {
	if len(ids) > 0 {
		return d.q.Find(ids)
	}
	return d.q.Snapshot()
}

// each calls f with the messages in the named queues, of the given ids.
func (d *direct) each(queues, ids []string, f func(*spool.Item, *proto.Item) error) error {
	snap := d.snapshot(ids)
	defer snap.Close()
	for {
		it, err := snap.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		queue := it.Queue
		if queue == spool.InActive {
			queue = incoming
		}
		if len(queues) > 0 && !slices.Contains(queues, queue) {
			continue
		}
		out := &proto.Item{Queue: queue, ID: it.ID, Arrival: it.Arrival, Size: it.Size, Expired: it.Expired, Sender: it.Sender}
		if !it.Due.IsZero() {
			out.Due = d.q.Wall(it.Due)
		}
		out.Recipients = d.recipients(it)
		if err := f(it, out); err != nil {
			return err
		}
	}
}

// recipients is what a listing says of the recipients of a message; nobody tries them.
func (d *direct) recipients(it *spool.Item) (rs []proto.ItemRecipient) {
	for i := range it.Recipients {
		r := &it.Recipients[i]
		out := proto.ItemRecipient{Address: r.Address, Original: r.Original, Reason: r.Status.Text, Attempts: uint64(r.Attempts), Waits: proto.WaitDown}
		if it.Queue == spool.InHold {
			out.Waits = proto.WaitHold
		}
		rs = append(rs, out)
	}
	return rs
}

func (d *direct) List(l *proto.List, f func(*proto.Item) error) error {
	for i := range d.drops {
		it := &d.drops[i]
		if len(l.IDs) > 0 && !slices.Contains(l.IDs, string(it.ID)) || len(l.Queues) > 0 && !slices.Contains(l.Queues, it.Queue) {
			continue
		}
		if err := f(it); err != nil {
			return err
		}
	}
	return d.each(l.Queues, l.IDs, func(found *spool.Item, it *proto.Item) error {
		if found.Over() {
			return nil
		}
		if found.More > 0 && d.q.Whole(found) == nil {
			it.Recipients = d.recipients(found)
		}
		return f(it)
	})
}

func (d *direct) Do(v *proto.Verb) (*proto.Done, error) {
	if !v.All && len(v.IDs) == 0 {
		return &proto.Done{}, nil
	}
	queues, ids := v.Queues, v.IDs
	if len(queues) == 0 {
		queues = v.Kind.Queues()
	}
	if v.All {
		ids = nil
	}
	done := &proto.Done{}
	var ts []spool.Target
	err := d.each(queues, ids, func(it *spool.Item, _ *proto.Item) error {
		if a := asks[v.Kind]; a != 0 && !d.wish(v.Kind, a, it.Target) {
			return nil
		}
		ts = append(ts, it.Target)
		if len(done.IDs) < proto.DoneIDs {
			done.IDs = append(done.IDs, string(it.ID))
		}
		return nil
	})
	var rest *spool.Unreadable
	if err != nil && !errors.As(err, &rest) {
		return nil, err
	}
	switch v.Kind {
	case proto.VerbHold:
		done.Count = uint64(d.q.Hold(ts))
	case proto.VerbRelease:
		done.Count = uint64(d.q.Release(ts))
	case proto.VerbDelete:
		done.Count = uint64(d.q.Delete(ts))
	case proto.VerbExpire, proto.VerbExpireAll, proto.VerbRequeue:
		done.Count = uint64(len(ts))
	case proto.VerbFlush, proto.VerbSite:
		return nil, ErrDown
	}
	if d.err != nil {
		return nil, d.err
	}
	if err := d.sync(); err != nil {
		return nil, fmt.Errorf("the decision could not be written down: %w", err)
	}
	if rest != nil {
		return nil, fmt.Errorf("searching the queue: %w (%d messages were found and changed)", rest, done.Count)
	}
	return done, nil
}

// asks are the verbs that change what becomes of a message when the system runs again.
var asks = map[proto.VerbKind]spool.Ask{
	proto.VerbExpire: spool.Expire, proto.VerbExpireAll: spool.Expire, proto.VerbRequeue: spool.Requeue,
}

// wish writes down what is wanted of a message, which nobody moves meanwhile.
func (d *direct) wish(kind proto.VerbKind, a spool.Ask, t spool.Target) bool {
	if kind != proto.VerbExpire {
		d.q.Release([]spool.Target{t})
	}
	m, err := d.q.Reach(t)
	if err != nil {
		d.err = errors.Join(d.err, fmt.Errorf("%s: %w", t.ID, err))
	}
	if m == nil {
		return false
	}
	d.q.Put(m, m.State.Wish(a, d.q))
	return true
}

func (d *direct) Cat(ids []string, head func(*proto.Item) error, w io.Writer) error {
	return d.each(nil, ids, func(it *spool.Item, out *proto.Item) error {
		if err := head(out); err != nil {
			return err
		}
		r, err := d.q.Cat(it)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(w, r)
		return err
	})
}
