package spool

import (
	"time"

	"postrider/lib/mail"
	"postrider/lib/mutant"
	"postrider/lib/slot"
)

// Message is one unfinished message, as Tail and Due hand it out. From then
// on it is in the caller's hands (open) until Put, Finish or Corrupt takes it
// back; while it is, neither Tail nor Due gives it again.
type Message struct {
	Ref      slot.Ref // where its content is: the message's identity
	Envelope *mail.Envelope
	State    State // zero but for Since and Done when it was never deferred
	Held     bool  // on hold: not to be tried, to be Put at once
	Strikes  int   // how many processes died with it in hand (Suspect)
	Replaced bool  // Envelope.Replaces was crossed off when this was tailed
	Large    string
	// Large is the name of the file in content/ when the content has one of
	// its own, "" when the content is inline.
	Size    int64  // bytes of content as stored
	CRC     uint32 // of a large content, CRC-32C
	Flushed bool   // an operator wants it tried now: all groups, due or not

	place    place       // the living state record, if there is one
	stateAt  int64       // its offset in the run
	content  contentSpan // where the record is
	warm     []byte      // see Warm, its checksum, and whether it was called
	sum      uint32
	used     bool
	tried    int   // recipients of its attempts, and
	reserved int64 // bytes of log for their results, see Reserve
}

// Deferred says whether m has a living state record, that is whether it was
// deferred before. Mail for which it is false counts as incoming.
func (m *Message) Deferred() bool { return m.place.ok() }

// State is what is known of a message's recipients beyond its envelope. All
// times are spool time (Queue.Now).
type State struct {
	Since   time.Time // when qmgr took it over; its age counts from here
	Done    Set       // recipients that are finished, whatever became of them; grows while the message is open
	Groups  []Group   // every other recipient, once, in no certain order
	Notices uint32    // age in seconds up to which all delay notices were sent; 0: none
	Dest    uint64    // hash of the destination of the earliest group; a filter
	Expired bool      // the operator forced it to expire
	Requeue bool      // the operator wants it queued again from the start
}

// Due returns the time at which the earliest group is due, or the zero time
// when there is no group.
func (s *State) Due() time.Time {
	var t time.Time
	for i := range s.Groups {
		if d := s.Groups[i].Due; i == 0 || d.Before(t) && !mutant.On(mutant.FirstGroupDue) {
			t = d
		}
	}
	return t
}

// Group is a set of recipients of one message that share their fate so far.
type Group struct {
	Recipients []uint32 // numbers in Envelope.Recipients, rising
	Due        time.Time
	Attempts   uint32
	Queue      string // class of sched.cf, or ""
	// Status is the last result. Its texts are cut to 1 KiB each, and of more
	// than 64 different ones in a message the rest shares the 64th.
	Status mail.Status
}

// Target names a message for an operator's verb, as a Snapshot found it. It
// stays valid however the message moves.
type Target struct {
	Ref slot.Ref
	ID  mail.QueueID

	place   place // where its state record was: a hint
	offset  int64 // in the run
	large   string
	content contentSpan
}
