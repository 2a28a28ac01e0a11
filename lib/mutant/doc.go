// Package mutant plants the faults that the tests must notice. Each breaks one
// promise of the design on purpose; test/mutation plants them one by one and
// demands that the test which guards the promise fails.
//
// They exist only in programs built with the tag "mutant", and of those only the
// one that the environment variable POSTRIDER_MUTANT, or the linker, names. In
// every other build On is the constant false, and the compiler leaves them out.
// The package imports nothing of ours.
package mutant

// Fault names a planted fault.
type Fault string

// The faults.
const (
	// JournalUnsynced: the journal's sync does nothing and succeeds (S1).
	JournalUnsynced Fault = "journal-unsynced"
	// EarlyReply: messages are answered before their batch is synced (S1).
	EarlyReply Fault = "early-reply"
	// NoSeal: nothing says where a file ends whose sync failed (S1).
	NoSeal Fault = "no-seal"
	// EarlyMark: recipients are marked as done when their delivery starts (S2).
	EarlyMark Fault = "early-mark"
	// EarlyFree: a file is given back while the FINISH or PUT that emptied it
	// may still be lost, and with no FREE on the disk (S3).
	EarlyFree Fault = "early-free"
	// TwoStates: a PUT does not name the state record it replaces (S3).
	TwoStates Fault = "two-states"
	// LogUnsynced: the log's sync does nothing and succeeds, so operators are
	// told what a power cut undoes (S8).
	LogUnsynced Fault = "log-unsynced"
	// FirstGroupDue: a message is filed under its first group's due time, not under
	// the earliest one's.
	FirstGroupDue Fault = "first-group-due"
	// TornIsDamage: what a writer left half written counts as damage.
	TornIsDamage Fault = "torn-is-damage"
	// GoodIsDurable: good records behind a torn batch are taken for a part of the file.
	GoodIsDurable Fault = "good-is-durable"
	// TailUnsynced: the journal is read as far as it is written (S1).
	TailUnsynced Fault = "tail-unsynced"
	// ClockFollows: spool time follows every step of the wall clock.
	ClockFollows Fault = "clock-follows"
	// NotNoted: what is deferred into a minute that is being read is not noted.
	NotNoted Fault = "not-noted"
	// EndlessFlush: what is deferred while a flush goes on is flushed again.
	EndlessFlush Fault = "endless-flush"
	// MaildropUnsynced: removals from maildrop/ may be undone by a power cut.
	MaildropUnsynced Fault = "maildrop-unsynced"
	// Unreserved: attempts start though there is no space for their results.
	Unreserved Fault = "unreserved"
	// Unchecked: the checksums of envelopes and contents are not compared.
	Unchecked Fault = "unchecked"
	// LostNamesTried: messages that a lost block of the log speaks of are not put on hold.
	LostNamesTried Fault = "lost-names-tried"
	// NoSearch: nobody looks for messages whose state records are lost (S5).
	NoSearch Fault = "no-search"
	// SlowSearch: the search for the next good record forgets what it has read.
	SlowSearch Fault = "slow-search"
	// CopyOnWrite: files on btrfs are copied on write, and nobody says so.
	CopyOnWrite Fault = "copy-on-write"
	// LockStays: writers of the spool do not inherit its lock (S6).
	LockStays Fault = "lock-stays"
	// HeadFirst: a log ends older ones before it has what they said (S4).
	HeadFirst Fault = "head-first"
	// SharedSuspect: what an agent died of is given to the agent that all share again.
	SharedSuspect Fault = "shared-suspect"
	// EarlyStart: qmgr does not wait until cleanup has said what the dead had sent (S4).
	EarlyStart Fault = "early-start"
	// OldIsNew: a spool from yesterday is taken for today's.
	OldIsNew Fault = "old-is-new"
	// ForgetShut: what cannot be opened after a start is not tried again.
	ForgetShut Fault = "forget-shut"
	// IgnoredWrite: a write to the journal that failed counts as done (S1).
	IgnoredWrite Fault = "ignored-write"
	// NoWithdraw: what has not started of a message that an operator deletes or holds
	// starts all the same (S8).
	NoWithdraw Fault = "no-withdraw"
	// StrayWorkers: an agent begins each delivery in a new goroutine and ends none.
	StrayWorkers Fault = "stray-workers"
	// LeakyReload: what a reload replaces stays open.
	LeakyReload Fault = "leaky-reload"
)

// All are the faults there are.
var All = []Fault{JournalUnsynced, EarlyReply, NoSeal, EarlyMark, EarlyFree, TwoStates, LogUnsynced,
	FirstGroupDue, TornIsDamage, GoodIsDurable, TailUnsynced, ClockFollows, NotNoted, EndlessFlush, MaildropUnsynced,
	Unreserved, Unchecked, LostNamesTried, NoSearch, SlowSearch, CopyOnWrite, LockStays, HeadFirst, SharedSuspect, EarlyStart, ForgetShut, OldIsNew, IgnoredWrite,
	NoWithdraw, StrayWorkers, LeakyReload}
