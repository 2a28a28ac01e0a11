// Package qmgr is the queue manager: the shell around the pure scheduler (lib/sched)
// and the queue on disk (lib/spool), which meet only here.
//
//	cleanup --journal--> [ tail ] --> consider --> admit --> sched --> deliver --> agents
//	                     [ due  ] ----^  |  ^                 results <------------'
//	                         ^           v  |                    |
//	                         |          parked  (park.go)        |
//	                         '------- Put, Finish, bounce <------'  (conclude.go)
//
// One goroutine, the owner (manager.run), has the spool, the scheduler and every
// message in memory; whatever happens elsewhere reaches it as a function in events.
// A turn of its loop runs what has happened, admits mail, starts deliveries, and
// writes down what was decided, all at once: one write for many results, one frame
// for many acknowledgements. It never waits for a disk, a socket or a name.
//
// Neither the journal nor the wheel is ever kept waiting: what the active queue has no
// room for is parked in the list of its destination, and the scheduler says whose turn
// it is when there is room.
//
// Other goroutines: a reader and a writer for each agent (agent.go), a reader for
// cleanup (journal.go), and one for each operator's connection (operator.go).
package qmgr
