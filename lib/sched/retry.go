package sched

import "time"

// Retry is Postfix's rule for when deferred mail is tried again and when it is
// given up. Ages count from the time a message was created, not from its last
// attempt.
type Retry struct {
	MinBackoff     time.Duration // minimal_backoff_time; also how long a destination stays dead
	MaxBackoff     time.Duration // maximal_backoff_time
	Lifetime       time.Duration // maximal_queue_lifetime
	BounceLifetime time.Duration // bounce_queue_lifetime, for the null sender; never above Lifetime
}

// Next returns when a message that was just deferred is due again: its age is
// the delay, within the two bounds, so that the age about doubles between
// attempts.
func (r Retry) Next(created, now Time) Time {
	return now.Add(max(min(now.Sub(created), r.MaxBackoff), r.MinBackoff))
}

// Expired says whether a message that was just deferred is to be returned
// instead of tried again. It is asked after an attempt or a suspension, never
// before the first, so mail older than its lifetime is still tried once.
// nullSender chooses BounceLifetime.
func (r Retry) Expired(created, now Time, nullSender bool) bool {
	life := r.Lifetime
	if nullSender {
		life = min(life, r.BounceLifetime)
	}
	return now.Sub(created) >= life
}
