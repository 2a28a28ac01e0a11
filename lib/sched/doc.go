// Package sched decides which delivery starts when. It is a pure state machine:
// events go in (a message is admitted, a delivery ended, an agent is gone, time
// passed), actions come out of Next (deliver, suspend, message done). It imports
// lib/mail and the standard library, and it has no file, socket, clock,
// goroutine or randomness: the same events give the same actions, which is what
// the transcripts in testdata hold. One goroutine uses a Machine; an admission
// or a result costs a few list and heap steps for each of its entries, however
// many messages and destinations there are (a reload, a flush, an agent that is
// gone or a destination that dies also touches what it is about).
//
// # The levels
//
// A transport (a line of master.cf) has slots: so many deliveries at once.
// Transports do not wait for each other. Below it are destinations: transport
// and next hop, or transport and user@nexthop where the transport takes one
// recipient at a time, as local does. Below a destination wait entries: one
// message and at most RecipientLimit of its recipients, what an agent is handed
// as one delivery.
//
// A destination that has mail waiting, is not dead and has fewer deliveries
// running than its window stands in its transport's ring; rings are served
// round robin. What cannot start stands in no ring, so nothing polls: the event
// that frees it (a result, a timer, an operator) puts it back.
//
// Between the two stand virtual queues (queue.go): mail of one class and level in a
// transport is a tier, and a tier has rings of its own. Whose turn it is among tiers is
// decided by level, age, share and weight. What a destination has of a tier is a bin, and
// what of that is under the same limits a flow (flow.go): it waits and is parked by
// itself. The window is the destination's, for all its bins. Without a policy there is
// one tier in each transport, one bin of a destination that has mail, and one flow.
//
// # Small mail and large
//
// A plain ring lets a message for a thousand destinations put a thousand turns
// before the next message. So each ring exists three times, once for each lane,
// and an entry goes to the lane of its message's size: up to 10 entries in this
// transport, up to 100, or more. A transport gives its lanes turns in rotation,
// and so does each destination with its own three queues. In a lane of a
// destination mail is first in, first out.
//
// The bound: let a destination have room, and let R destinations of its
// transport (and rank, see below) have mail of the same lane ready. It gets a turn at least once in
// 3 R starts of the transport, and the entry with p others before it in its lane
// goes with the 3(p+1)th turn at the latest. So a small message behind one large
// one, or behind any number of them, starts within nine starts of its transport
// (commonly the first or second), and large mail is not starved by any flood of
// small mail. Postfix's qmgr reaches a like bound by letting a small job preempt
// a large one that has earned delivery slots; rotation needs no accounting and no
// search for a candidate. Where ranks take turns, the counts are of starts of the
// rank, at most three times as many of the transport.
//
// A message for very many comes in slices of Slice recipients (Message.More,
// Refill), so that it does not fill the memory and keep others out.
//
// # The window
//
// The window of a destination starts at InitialConcurrency and moves with
// Postfix's feedback (SCHEDULER_README, "Concurrency scheduling"): a delivery
// whose hop worked, whatever became of its recipients, adds the positive
// feedback; one that failed before or beside the transaction takes off the
// negative one. Failures also add up in cohorts, a cohort being as many failures
// as the window is wide; at CohortLimit the destination is dead. Then its
// waiting mail, and what comes for it, is suspended: given back at once with
// the reason, without an attempt. After minimal_backoff_time one probe goes
// out, and the window grows from one. A flush forgets that it was dead.
//
// Unlike Postfix, the window of a destination outlives its mail, in a bounded
// list of idle destinations that forgets the longest unused first.
//
// # The unproven
//
// Ten thousand black holes, each tried with one connection that ends in a
// timeout, would hold all slots. So destinations have ranks: proven ones, which
// had a success in the last four hours and did not die since, fresh ones, and
// failing ones. Those that are not proven hold UnprovenShare of the slots of
// their transport at most. While less than half of that is in use, or all that is
// in use is its own, such a destination starts at once and with its whole window.
// Else it begins with one connection, whose failure counts as a whole cohort's, or
// keeps to those it has until slots are not short any more; and when all of the
// share is in use they wait. Each rank has rings of its own and the ranks take turns, so
// a new site waits behind other new sites and not behind what failed. While
// slots are short, each eighth of the new ones that start is the one that came last:
// a site whose first mail comes when ten thousand wait that nobody has seen alive need
// not wait for them all.
//
// Users of this machine need no proof, and one whose home or command hangs may have had
// mail a minute ago. Where Spares is set, the same is therefore counted over all slots and
// whatever the rank: while half of them are in use, a destination that has some keeps to those.
//
// # Rates
//
// DestinationRateDelay makes a destination rest after each delivery,
// TransportRateDelay keeps a transport from starting two deliveries within it.
// What rests stands in no ring and has a timer; no attempt is used up, a flush
// changes nothing, and a destination at rest is not forgotten.
//
// # Limits and windows
//
// A limit (limit.go) bounds all mail that shares its key, whatever its destinations: by
// rates and by deliveries at once. What it has no room for stands in its list and in no
// ring; as much as it has room for goes back when that frees. Mail whose window (hours.go)
// is shut is given back with Postpone.
//
// # A restart
//
// Snapshot and Restore carry windows, ranks, deaths, rests and what limits remember over a
// restart, with the time that is left of each.
//
// # Admission
//
// How much mail is in memory is bounded by ActiveLimit messages and
// RecipientLimit recipients. Room says how many messages fit, Intake which queue is to
// give the next one: parked, incoming and deferred in turn.
// Full says that a destination holds its share: then its mail is parked by the
// caller, and Unpark says from which list the next message comes (park.go).
//
// # Names
//
// A destination whose name has to be looked up starts nothing before it is; that
// is a job with slots of its own (names.go).
//
// # Expiry
//
// A message that waits too long is given back by a timer of its own, if its
// destination was tried (expire.go).
package sched
