// Package recovery measures how a mail system comes back, and goes on: after a kill of
// everything with a long queue, after the loss of one daemon, through a thousand reloads,
// a stop, and new programs. The oracle is package ledger.
package recovery
