// Package bench measures the running suite beside other mail systems, on the same
// machine, file system and load, in turns: messages a second, processor time, latency,
// memory and syncs. It is built with the tag bench only; "make bench" (the quick part)
// and "make bench-all" run it and write RESULTS.md.
//
// Speed is measured with Debian's smtp-source and smtp-sink at both ends, the sink
// counting. Each load is also run once from test/source into test/sink, whose ledger
// says whether every message arrived once and whole, and how long each took: a system
// that loses one fails the run.
package bench
