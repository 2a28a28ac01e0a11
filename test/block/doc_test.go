// Package block cuts the power under the real programs on real file systems. The queue
// and the mailboxes are on ext4, xfs or btrfs, which is on a loop device, which is a file
// that this package serves by FUSE out of memory: so it sees every write of a block and
// every flush in its order.
//
// TestPowerCut records the system at work: mail accepted by SMTP and sendmail, delivered,
// deferred, retried, bounced, put into mailboxes; deleted, held, released and requeued by
// an operator; journal files, logs and runs sealed and begun anew, checkpoints (by files of
// 256 KiB in place of 64 MiB, build tag smallfiles). Then it makes disks as a power cut
// may leave them: all that was flushed, and of what was written since any part, whole or
// torn at 512 bytes or 4 KiB. Each is mounted, and the spool started on it and listed; on
// some the programs start and deliver everything. test/ledger judges what senders and
// recipients had seen by then:
//
//   - what was acknowledged is in the queue, in a mailbox, delivered or reported, bit for
//     bit, and what was refused nowhere;
//   - corrupt/ is empty;
//   - what postsuper had deleted is gone, what it had put on hold is on hold;
//   - only deliveries of the last moment are repeated (mark_sync_delay).
//
// Four disks are judged at a time, since the kernel mostly waits for itself; of btrfs one.
//
// TestPlugPull lets the file system itself lose what is not synced while the system runs,
// by the ioctl that shuts it down, and starts it again.
//
// POSTRIDER_BLOCK_STATES and POSTRIDER_BLOCK_STARTS say how many states there are for each
// file system, without (2,000, but as many as POSTRIDER_BLOCK_LIMIT seconds allow, 3) and with
// the programs, POSTRIDER_BLOCK_SECONDS how long is recorded, POSTRIDER_BLOCK_PULLS how often
// the plug is pulled, POSTRIDER_BLOCK_SEED which states are chosen; POSTRIDER_BLOCK_BTRFS is
// for btrfs too, POSTRIDER_BLOCK_KEEP names a file for a disk that failed. A recording is
// never the same twice. Root is needed; all mounts are in a name space of the test's own.
package block
