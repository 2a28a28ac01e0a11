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
)

// All are the faults there are.
var All = []Fault{JournalUnsynced, EarlyReply, NoSeal, EarlyMark, EarlyFree, TwoStates, LogUnsynced}
