// Package kill tests that a kill -9 of any process, or of all at once, at any moment,
// loses no mail that was acknowledged and repeats no more than S4 of the design allows.
// The oracle is package ledger; source and sinks are outside of what is killed.
package kill
