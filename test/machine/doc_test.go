// Package machine tests what a machine does to a mail system: its disk, its memory, its
// clock, its name servers and its operators' backups. Each fault comes and goes; nobody
// helps, and all is well again. The oracle is package ledger.
package machine
