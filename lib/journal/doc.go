// Package journal is cleanup's half of the spool: it makes messages durable. It
// appends them to the files in incoming/ and says, after one sync for all that
// came meanwhile, that each is safe (S1). It imports lib/disk, lib/slot, lib/mail
// and lib/mutant, and touches incoming/, content/ and the directory maildrop/ only.
//
// A file is written once, by the process that opened it fresh: there is no
// appending to what another left, so a torn batch never has good records of a
// later writer behind it. It is begun with a new number and a new random key,
// both synced before the first record; its first record says where the file
// before it ends. Files are written in advance, by a goroutine of their own
// (the keeper), so that a sync has no metadata to wait for and no message waits
// for a file to be made.
//
// After a failed write or sync the file is never synced again: what was in
// flight may or may not reach the disk. A fresh file is begun whose first
// record cuts the failed one at its durable length; only when that record is
// synced are the messages in flight refused with ErrSync. If it cannot be, the
// answer is ErrUnknown, and the client must be left without one.
package journal
