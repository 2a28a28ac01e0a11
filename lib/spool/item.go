package spool

import (
	"bytes"
	"io"
	"slices"
	"time"

	"postrider/lib/mail"
	"postrider/lib/slot"
)

// Names of the queues in a listing.
const (
	InIncoming = "incoming" // tailed, never deferred, and parked
	InActive   = "active"   // open: tailed or due, in the caller's hands
	InDeferred = "deferred" // on the wheel
	InHold     = "hold"     // on hold, deferred or open
)

// Item is one message in a listing.
type Item struct {
	Target
	Queue      string // InIncoming, InActive, InDeferred or InHold
	Open       bool   // the caller has the Message (IsOpen), and knows more
	Arrival    time.Time
	Since      time.Time // spool time: its age counts from here; zero when it was never deferred
	Size       int64
	Sender     mail.Address
	Due        time.Time // spool time; zero when it was never deferred
	Expired    bool
	Recipients []ItemRecipient // unfinished ones, at most the first 16 of a deferred message
	More       int             // how many unfinished recipients are not listed (Queue.Whole)
	groups     []Group         // when there are more
}

// Over says that no recipient is left of a message that is filed: it was crossed off
// while nobody had it open, and is finished when it is due. A listing leaves it out.
func (it *Item) Over() bool { return !it.Open && len(it.Recipients) == 0 && it.More == 0 }

// ItemRecipient is an unfinished recipient and the last result for it.
type ItemRecipient struct {
	Number   uint32
	Address  mail.Address
	Original mail.Address
	Due      time.Time
	Attempts uint32
	Queue    string // virtual queue of sched.cf, or ""
	Status   mail.Status
}

// Stats are figures of a Queue.
type Stats struct {
	Open         int   // messages in the caller's hands
	Deferred     int   // living slots in runs, open ones and deleted ones included
	Held         int   // living slots in hold/
	Runs         int   // run files
	ContentFiles int   // journal files that still hold something
	LogBytes     int64 // written to the log since Open
	RunBytes     int64 // written to runs since Open
	Syncs        int64 // of the log
	StoreFiles   int   // files in store/
	StoreBytes   int64 // of them
	Used         int64 // bytes of all files with messages and state records, but for content/
	Compacted    int   // content files whose survivors were copied there since Open
}

// newItem is a parked message that has no state record.
type newItem struct {
	ref  slot.Ref
	at   int64 // offset of its record
	done Set
}

func openedItem(o openItem) *Item {
	m := o.m
	e := m.Envelope
	it := &Item{Target: Target{Ref: m.Ref, ID: e.ID, place: m.place, large: m.Large, content: m.content},
		Queue: InActive, Open: true, Arrival: e.Arrival, Since: m.State.Since, Size: e.Size, Sender: e.Sender, Due: m.State.Due(), Expired: m.State.Expired}
	if o.held {
		it.Queue = InHold
	}
	at := make(map[uint32]int)
	for n := range e.Recipients {
		if o.done.Has(uint32(n)) {
			continue
		}
		r := &e.Recipients[n]
		at[uint32(n)] = len(it.Recipients)
		it.Recipients = append(it.Recipients, ItemRecipient{Number: uint32(n), Address: r.Address, Original: r.Original})
	}
	for i := range m.State.Groups {
		g := &m.State.Groups[i]
		for _, n := range g.Recipients {
			if k, ok := at[n]; ok {
				r := &it.Recipients[k]
				r.Due, r.Attempts, r.Status = g.Due, g.Attempts, g.Status
			}
		}
	}
	return it
}

// item is what a state record tells a listing.
func (r *record) item() *Item {
	it := &Item{Target: Target{Ref: r.Ref}, Arrival: r.Arrival, Since: r.State.Since, Size: r.Size, Sender: r.Sender,
		Due: r.State.Due(), Expired: r.State.Expired, Recipients: r.Listed}
	it.More = -len(r.Listed)
	for i := range r.State.Groups {
		g := &r.State.Groups[i]
		it.More += len(g.Recipients)
		for k := range it.Recipients {
			if _, ok := slices.BinarySearch(g.Recipients, it.Recipients[k].Number); ok {
				x := &it.Recipients[k]
				x.Due, x.Attempts, x.Queue, x.Status = g.Due, g.Attempts, g.Queue, g.Status
			}
		}
	}
	if it.More > 0 {
		it.groups = r.State.Groups
	}
	return it
}

// Cat returns the content of a message in a listing. From any goroutine,
// until Queue.Close; a message that is gone by now is ErrDamaged or not found.
func (q *Queue) Cat(it *Item) (io.ReadCloser, error) {
	rec, err := q.contentOf(it)
	if err != nil {
		return nil, err
	}
	if rec.Flags&slot.FlagLarge == 0 {
		return io.NopCloser(bytes.NewReader(rec.Content)), nil
	}
	f, err := q.fs.OpenFile(dirContent+"/"+string(rec.ID), 0, 0)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		f.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, 0, size), f}, nil
}
