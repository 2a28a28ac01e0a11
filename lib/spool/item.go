package spool

import (
	"time"

	"postrider/lib/mail"
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
