// Package calls goes through the system calls of the real programs, at work in all their
// ways, one by one (test/supervisor): in TestEachCallFails a call fails, once or for as
// long as the work goes on; in TestKilledAtEachCall a process, or all, is killed there.
//
// The work of a cycle is the same each time (rig_test.go): mail by SMTP and sendmail,
// with a content of its own, deferred, bounced, into a Maildir; held, released,
// requeued, deleted, flushed; a reload, a stop and a start, in daemons with files of
// 256 KiB (build tag smallfiles), so that files are sealed, compacted, freed and
// checkpoints made. Then the fault ends, all is drained, with no help, and test/ledger
// judges: nothing lost, mixed, truncated, nothing refused and delivered, nothing in
// corrupt/, and no more delivered twice than what an agent had in hand.
//
// A site is a program, a kind of call and a kind of file; its calls are numbered from 1
// in each cycle. A first cycle without faults counts them. Then each site has its turn,
// again and again with other numbers, until all were tried or time is over.
//
// POSTRIDER_CALLS_LIMIT says how many seconds each test has (4), POSTRIDER_CALLS_SEED in
// which order; POSTRIDER_CALLS_ONLY ("smtpd sync incoming", or a part) which sites.
// Root is needed.
package calls
