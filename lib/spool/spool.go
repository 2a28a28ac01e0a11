package spool

import (
	"errors"
	"time"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// Kinds of error.
var (
	// ErrVersion: the queue directory is of a format this program does not know.
	ErrVersion = errors.New("spool: unknown format version")
	// ErrDamaged: bytes on disk fail their checks. What they belong to goes to
	// corrupt/ or on hold, never away (S5).
	ErrDamaged = errors.New("spool: damaged")
	// ErrLog: the log cannot be written; what is not durable stays in memory.
	ErrLog = errors.New("spool: log cannot be written")
	// ErrClosed: the queue was closed.
	ErrClosed = errors.New("spool: closed")
)

// Options says how a spool is run. FS is needed; every other field has a
// default.
type Options struct {
	FS disk.FS // rooted at queue_directory

	Now  func() time.Time              // wall clock
	Mono func() time.Duration          // monotonic clock, from any start
	Logf func(format string, a ...any) // for people: damage, recovery, clock steps

	LogSize         int64         // bytes of a log file; 64 MiB
	StoreSize       int64         // bytes of a file in store/, about; 64 MiB
	RunSlots        int           // records of one run before the next is begun; 32,768
	MarkSyncDelay   time.Duration // how long written decisions may stay unsynced (mark_sync_delay); 20 ms; negative: until Sync
	CheckpointEvery time.Duration // with changes; 10 minutes

	// Warm is up to what size in bytes Tail keeps contents at hand for Queue.Warm.
	Warm int

	// OnFreed is called, in the owner's goroutine, when the content file of
	// that name (within incoming/) may be written anew: cleanup is to be told.
	OnFreed func(name string)
	// OnOver, if set, is called, in the owner's goroutine, when a message is over, whatever
	// became of it. During Open it may be called, too.
	OnOver func(ref slot.Ref)

	// Witness is how far the spool was once, or nil when nobody knows. One that is not so
	// far any more is put on hold as a whole.
	Witness *Witness

	// Reading, if set, is called before something of a message is decoded (OfRecord,
	// OfState), and with the zero Ref when that has gone well. Condemned, if set, says
	// why it is not to be decoded, or "": then it goes to corrupt/ as it is.
	Reading   func(what string, ref slot.Ref)
	Condemned func(what string, ref slot.Ref) string
}
