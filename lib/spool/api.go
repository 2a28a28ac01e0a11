package spool

import (
	"time"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// Open puts the spool together after whatever ended its last use: it makes
// what is missing, checks the version, loads the newest good checkpoint and
// replays the log behind it. The caller holds the lock of the queue
// directory. Errors: ErrVersion; what the disk says.
func Open(o Options) (*Queue, error)

// Close writes what is buffered and a last checkpoint, syncs, and ends the
// goroutines. It blocks. Messages that are open stay unfinished on disk.
func (q *Queue) Close() error

// Events gives functions that the owner has to run in its own goroutine,
// one after another, as soon as it can.
func (q *Queue) Events() <-chan func()

// Now returns spool time: never backwards, near the wall clock unless that
// was stepped (spool.md, "Time").
func (q *Queue) Now() time.Time

// Wall translates spool time into wall time, for display.
func (q *Queue) Wall(t time.Time) time.Time

// Commit ends a turn of the owner's loop: what was logged in it goes to the
// committer, and housekeeping that is due is done a step further. To be
// called after each turn in which another method was, and once a minute. It
// reports whether there is more housekeeping to do at once.
func (q *Queue) Commit() (more bool)

// Written calls f when everything logged so far is written (a kill of qmgr
// cannot undo it): agents are acknowledged then. It implies no sync.
func (q *Queue) Written(f func())

// Sync calls f when everything logged so far is durable. While the log cannot
// be written f waits; its error is only ever ErrClosed.
func (q *Queue) Sync(f func(error))

// Durable says that cleanup synced its journal up to p. Tail reads no further.
func (q *Queue) Durable(p slot.Position)

// WriterGone says that the writer of every content file there is now is dead
// (at the start too): those left open are synced and sealed as far as they
// are good, and Tail may read them to their ends.
func (q *Queue) WriterGone() error

// Tail returns the next new messages, at most max, in the order of the
// journal; after a start first those that were in the active queue before.
// What a message replaces is crossed off in the entry that moves the cursor.
// An empty answer means that all that is durable was tailed.
func (q *Queue) Tail(max int) ([]*Message, error)

// Due returns deferred messages whose time has come, at most max, the
// earliest first within a run. What is due and not returned stays on disk.
// The recipients in State.Done include those crossed off since the deferral;
// State.Groups do not.
func (q *Queue) Due(max int) ([]*Message, error)

// NextDue returns when Due may next have something: a time in the past while
// it does. False when nothing is deferred.
func (q *Queue) NextDue() (time.Time, bool)

// Done logs that recipients of an unfinished message, by number, are
// finished. For a message that was deleted meanwhile it does nothing.
func (q *Queue) Done(ref slot.Ref, recipients ...uint32)

// Put files an open message until s.Due(), on hold when it is held; s needs a
// group. It takes the message back from the caller. A deleted message is gone
// afterwards like one that was finished.
func (q *Queue) Put(m *Message, s State)

// Finish says that nothing is left to do for an open message.
func (q *Queue) Finish(m *Message)

// Suspect logs that a process died with the message in hand and returns how
// often that was by now. What kills twice alone is for Corrupt.
func (q *Queue) Suspect(m *Message) int

// Corrupt moves an open message to corrupt/, with a .reason, and finishes it.
func (q *Queue) Corrupt(m *Message, reason string) error

// Reserve asks for log space for the results of n recipients of m about to be
// tried. False: no attempt may start now (the log is full until a checkpoint
// is done, or cannot be written); ask again at the next event. The space is
// given back by Put and Finish.
func (q *Queue) Reserve(m *Message, n int) bool

// ReadContent returns the inline content of m in buf, grown when it is too
// small, after checking its CRC; ErrDamaged when that fails. It may be called
// from any goroutine while the message is open.
func (q *Queue) ReadContent(m *Message, buf []byte) ([]byte, error)

// OpenLarge opens the content of m when m.Large names its own file, for
// reading. From any goroutine while the message is open.
func (q *Queue) OpenLarge(m *Message) (disk.File, error)

// Hold puts messages on hold: deferred ones are not tried any more. For one
// that is open the owner ends its attempts and Puts it; Put files it in hold/.
// It returns how many of them were alive and not on hold.
func (q *Queue) Hold(ts []Target) int

// Release takes messages off hold; they are due when they were. Open ones
// only lose the mark.
func (q *Queue) Release(ts []Target) int

// Delete finishes messages for good; later results for them are dropped (S8).
func (q *Queue) Delete(ts []Target) int

// Expedite makes deferred messages due now, but not those on hold.
func (q *Queue) Expedite(ts []Target) int

// Flush makes everything that is deferred now due now. What is deferred again
// meanwhile is not tried twice.
func (q *Queue) Flush()

// IsOpen returns the open message with that identity, or nil.
func (q *Queue) IsOpen(ref slot.Ref) *Message

// IsHeld says whether the message is on hold.
func (q *Queue) IsHeld(ref slot.Ref) bool

// Snapshot fixes what is in the queue at this moment for a listing or a
// search. It must be closed.
func (q *Queue) Snapshot() *Snapshot

// Next returns the next message, in no order, or io.EOF. Any one goroutine
// may use a Snapshot, and no longer than until Queue.Close.
func (s *Snapshot) Next() (*Item, error)

// Close lets go of the files the snapshot reads.
func (s *Snapshot) Close()

// Stats returns figures for status and tests.
func (q *Queue) Stats() Stats
