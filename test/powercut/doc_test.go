// Package powercut runs the whole way of a message through the spool, the real
// journal and the real queue with a small cleanup and queue manager around them,
// on a model disk that loses power at every call, with any part of what was not
// synced there or not. After each cut, and after kills of either process or both,
// it demands (design.md, S1 to S3 and S8):
//
//   - what was acknowledged and not finished is in the queue, bit for bit;
//   - what was refused, and what was finished for certain, is not;
//   - what an operator was told (hold, release, delete) is so;
//   - nothing looks damaged: corrupt/ is empty.
//
// In the end everything is delivered, and test/ledger judges. lib/spool's own
// model test knows the queue's inside and compares states with a twin; this one
// knows only what sender, recipient and operator see.
//
// POSTRIDER_CRASH_STATES is the number of crashes to try; see TestHistories.
package powercut
