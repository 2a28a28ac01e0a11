// Package maillog is the log of all programs. Programs log events: values with
// typed fields, such as Delivery; hclog carries them to one sink, which renders
// Postfix's exact lines (so that log analysers work) or JSON. Text of peers is
// escaped there and nowhere else.
//
// Nothing waits for the log: lines go into a bounded buffer, and one goroutine
// writes what has gathered in one call. While the log is missing, full or
// stuck, lines are dropped and counted, and a later line says how many.
//
// The package imports mail. It opens nothing: the descriptor comes from master.
package maillog
