// Package spool is the half of the spool that the queue manager owns: it
// follows the journal that cleanup writes (lib/journal), keeps every decision
// in one log, files what is deferred on a timing wheel of run files, and puts
// it all together again after a crash.
//
// # Picture
//
//	incoming/NNN  --Tail-->  open message  --Done-->    log only
//	(content)                (in memory)   --Finish-->  log; the content slot is dead
//	                              ^        --Put----->  log and deferred/MINUTE.NUMBER.run
//	                              |                         (or hold/NUMBER when it is held)
//	                              +-----------Due-----------+
//
// Content never moves with the schedule. A state record (state.go) says what
// is known of the recipients; a message has at most one that lives, and it is
// alive while neither its own slot nor its content's slot is dead. So what
// lives is told by bitmaps (file.go): dead, held and stated (has a state
// record) for each content slot, dead for each slot of a run. A message
// costs three or four bits of memory while nobody works on it.
//
// The log (log.go, entry.go) is the only file that is synced on the way. Runs
// are copies of what the log says, written lazily (run.go) and synced by the
// checkpoint (checkpoint.go), which also saves the bitmaps; recovery
// (recover.go, replay.go; image.go is what a checkpoint holds) loads the newest good checkpoint and replays the logs since.
//
// The journal is followed by tail.go (its files: tailfile.go, what cannot be read: taildamage.go) and seal.go, the wheel is wheel.go, put.go
// and due.go, the operators' verbs are hold.go, listings snapshot.go; space.go
// gives files back, compact.go copies what little is left of old content files to
// store/ (store.go, index.go), leftover.go removes contents that a dead cleanup did
// not finish; corrupt.go and orphan.go keep what is damaged. A spool that has no
// checkpoint is put together from all its files by rebuild.go and settle.go.
//
// # Goroutines
//
// A Queue belongs to one goroutine, the owner: all methods are called from it
// unless they say otherwise. Log writes and syncs happen in the committer's
// goroutine, checkpoints and the removal of files in a second one, and what is
// deferred is read in a third one (ahead.go). All call back through Events, whose
// functions the owner runs, so its loop waits neither for a sync nor for a disk that
// is cold. The owner's loop:
//
//	select {
//	case f := <-q.Events(): f()
//	case ...: // results, operators, durable positions of cleanup, timers
//	}
//	... q.Tail, q.Due, q.Done, q.Put, q.Finish ...
//	q.Commit() // end of the turn: what was logged goes to the committer
//
// # Order
//
// Written and synced before it is relied on (S1 to S3): a file is freed by a
// FREE entry that is logged after the FINISH and PUT entries that killed its
// slots are synced, and given back after the FREE entry is synced.
//
// The package touches the queue directory through lib/disk only, no clock but
// those in Options, and no socket. It imports mail, disk, slot, mutant and crash.
package spool
