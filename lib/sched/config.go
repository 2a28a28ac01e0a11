package sched

import "time"

// Config is what the operator chose. The Machine keeps it; the caller must not
// change the map afterwards but pass a new Config to SetConfig.
type Config struct {
	ActiveLimit    int // qmgr_message_active_limit: messages in memory
	RecipientLimit int // qmgr_message_recipient_limit: recipients in memory; raised to ActiveLimit
	Retry          Retry
	Transports     map[string]Transport // by the service name of master.cf
}

// Transport is what the operator chose for one line of master.cf. Each field
// names the parameter without its default_ or transport prefix.
type Transport struct {
	Slots              int           // maxproc of master.cf: deliveries at once; 0 is no limit
	InitialConcurrency int           // initial_destination_concurrency; at least 1, at most ConcurrencyLimit
	ConcurrencyLimit   int           // destination_concurrency_limit; 0 is no limit
	RecipientLimit     int           // destination_recipient_limit; 0 is no limit; 1 makes each recipient a destination
	PositiveFeedback   Feedback      // destination_concurrency_positive_feedback
	NegativeFeedback   Feedback      // destination_concurrency_negative_feedback
	CohortLimit        float64       // destination_concurrency_failed_cohort_limit; 0: no destination ever dies
	RetryTime          time.Duration // transport_retry_time
}

// initial returns the window of a destination that nothing is known about.
func (t *Transport) initial() int { return t.clamp(max(t.InitialConcurrency, 1)) }

// clamp bounds a window by the concurrency limit.
func (t *Transport) clamp(window int) int {
	if t.ConcurrencyLimit > 0 && window > t.ConcurrencyLimit {
		return t.ConcurrencyLimit
	}
	return window
}
