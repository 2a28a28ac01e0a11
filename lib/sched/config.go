package sched

import "time"

// Config is what the operator chose. The Machine keeps it; the caller must not
// change the map afterwards but pass a new Config to SetConfig.
type Config struct {
	ActiveLimit    int // qmgr_message_active_limit: messages in memory
	RecipientLimit int // qmgr_message_recipient_limit: recipients in memory; raised to ActiveLimit
	Retry          Retry
	ResolveSlots   int                  // names looked up at once, for all transports; 0 is no limit
	Transports     map[string]Transport // by the service name of master.cf

	// What a policy says; without one all of this is empty.
	Queues       map[string]Queue // virtual queues, the default by DefaultQueue
	NoPriorities bool             // levels do not count
	Aging        time.Duration    // priority_aging: waiting so long counts as one level more; 0: levels are strict
	Limits       map[string]Limit
	Windows      map[string]Window
	Pools        map[string][]Member // of egress sources
}

// Transport is what the operator chose for one line of master.cf. Each field
// names the parameter without its default_ or transport prefix.
type Transport struct {
	Slots              int      // maxproc of master.cf: deliveries at once; 0 is no limit
	InitialConcurrency int      // initial_destination_concurrency; at least 1, at most ConcurrencyLimit
	ConcurrencyLimit   int      // destination_concurrency_limit; 0 is no limit
	RecipientLimit     int      // destination_recipient_limit; 0 is no limit; 1 makes each recipient a destination
	PositiveFeedback   Feedback // destination_concurrency_positive_feedback
	NegativeFeedback   Feedback // destination_concurrency_negative_feedback
	CohortLimit        float64  // destination_concurrency_failed_cohort_limit; 0: no destination ever dies
	Resolves           bool     // its program looks names up when Resolve asks for it

	// UnprovenShare is unproven_destination_share: how much of Slots, in percent,
	// the destinations without a recent success may hold together; 0 is no limit.
	UnprovenShare int
	// Spares leaves half of Slots to destinations that have nothing in hand: while half
	// are in use, and not by it alone, a destination with some gets no more. So fifty users
	// whose commands or files hang, with a hundred slots, do not stop the mail of others.
	Spares bool
	// DestinationRateDelay is destination_rate_delay: how long a destination rests
	// after each delivery. It makes every window 1.
	DestinationRateDelay time.Duration
	// TransportRateDelay is transport_rate_delay: the time from one start of a
	// delivery to the next, for all destinations together.
	TransportRateDelay time.Duration
}

// unproven returns how many slots unproven destinations may hold together, 0
// for no limit.
func (t *Transport) unproven() int {
	if t.Slots <= 0 || t.UnprovenShare <= 0 || t.UnprovenShare >= 100 {
		return 0
	}
	return max(t.Slots*t.UnprovenShare/100, 1)
}

// initial returns the window of a destination that nothing is known about.
func (t *Transport) initial() int { return t.clamp(max(t.InitialConcurrency, 1)) }

// clamp bounds a window by the concurrency limit.
func (t *Transport) clamp(window int) int {
	if t.DestinationRateDelay > 0 {
		return 1
	}
	if t.ConcurrencyLimit > 0 && window > t.ConcurrencyLimit {
		return t.ConcurrencyLimit
	}
	return window
}
