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
	Seed           uint64        // of the jitter of Next; any number will do
}

// jitter is the part of a delay that chance decides: one in 20. Mail that was
// deferred in one moment, as when a destination dies with 50,000 waiting, comes
// back over 15 seconds after the first delay and over 200 after those of 4000,
// and since each delay counts from the last, the herd spreads on. That is too
// little for an operator who compares with Postfix to notice, whose own queue
// runs come up to 300 seconds late.
const jitter = 20

// Next returns when a message that was just deferred is due again: its age is
// the delay, within the two bounds, so that the age about doubles between
// attempts. Up to 5 % are added by chance, or, near MaxBackoff, taken off; the
// delay is never below MinBackoff, and above MaxBackoff only where the bounds
// leave no room. The chance follows from Seed, now and key, which tells apart
// messages that are deferred in the same moment: the number of the message.
func (r Retry) Next(created, now Time, key uint64) Time {
	delay := max(min(now.Sub(created), r.MaxBackoff), r.MinBackoff)
	spread := max(delay/jitter, 0)
	delay = max(min(delay, r.MaxBackoff-spread), r.MinBackoff)
	chance := mix(mix(mix(r.Seed)^uint64(now)) ^ key)
	return now.Add(delay + time.Duration(chance%uint64(spread+1)))
}

// mix makes every bit of x count for every bit of the result (the finalizer of
// SplitMix64, Steele et al. 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Expiry returns when a message is too old. nullSender chooses BounceLifetime.
func (r Retry) Expiry(created Time, nullSender bool) Time {
	if nullSender {
		return created.Add(min(r.Lifetime, r.BounceLifetime))
	}
	return created.Add(r.Lifetime)
}

// Expired says whether a message that was just deferred is to be returned
// instead of tried again. It is asked after an attempt or a suspension, never
// before the first, so mail older than its lifetime is still tried once.
func (r Retry) Expired(created, now Time, nullSender bool) bool {
	return now >= r.Expiry(created, nullSender)
}
