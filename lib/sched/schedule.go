package sched

import "time"

// Schedule says when the mail of one recipient is tried again, when its sender hears of
// the delay, and when it is given up. The zero value is Retry's, Postfix's.
type Schedule struct {
	// At most one of the two.
	Ladder   []time.Duration // from one failure to the next attempt; the last repeats
	Interval time.Duration   // doubles from failure to failure

	MaxInterval time.Duration // up to this; 0 is no bound
	Tiers       []Pace        // the last whose After is reached holds instead; by After ascending
	Jitter      int           // percent of a delay that chance may add; negative: 5

	Notices     []time.Duration // ages at which the sender hears of the delay, ascending
	Expire      time.Duration   // the age at which it is given up; 0: never for its age
	MaxAttempts int             // 0: never for their number
}

// Pace is how often mail is tried after some failures.
type Pace struct {
	After int // failed attempts
	Every time.Duration
}

// longest is what no delay exceeds: with a larger one a moment could overflow.
const longest = 400 * 24 * time.Hour

// Paced says whether s has delays of its own; else they are Retry's.
func (s *Schedule) Paced() bool {
	return s != nil && (len(s.Ladder) > 0 || s.Interval > 0 || len(s.Tiers) > 0)
}

// delay is the time from the failure numbered failures, from 1, to the next attempt,
// without chance; false when s has none for it.
func (s *Schedule) delay(failures int) (time.Duration, bool) {
	failures = max(failures, 1)
	for i := len(s.Tiers) - 1; i >= 0; i-- {
		if failures >= s.Tiers[i].After {
			return s.Tiers[i].Every, true
		}
	}
	switch {
	case len(s.Ladder) > 0:
		return s.Ladder[min(failures, len(s.Ladder))-1], true
	case s.Interval > 0:
		most := longest
		if s.MaxInterval > 0 {
			most = s.MaxInterval
		}
		d := s.Interval
		for i := 1; i < failures && d < most; i++ {
			d *= 2
		}
		return min(d, most), true
	}
	return 0, false
}

// Next returns when a recipient is due again that just failed for the failures'th time:
// so long after the failure, and up to Jitter percent more by chance, so that what failed
// in one moment does not come back in one. r gives the time where s has none. key tells
// apart messages that are deferred in the same moment.
func (s *Schedule) Next(r Retry, failures int, created, now Time, key uint64) Time {
	if s == nil {
		return r.Next(created, now, key)
	}
	d, ok := s.delay(failures)
	if !ok {
		return r.Next(created, now, key)
	}
	percent := s.Jitter
	if percent < 0 {
		percent = 100 / jitter
	}
	spread := d / 100 * time.Duration(percent)
	chance := mix(mix(mix(r.Seed)^uint64(now)) ^ key)
	return now.Add(d + time.Duration(chance%uint64(spread+1)))
}

// Expiry returns when a message is too old by s, 0 for never: MaxAttempts may end it.
func (s *Schedule) Expiry(r Retry, created Time, nullSender bool) Time {
	switch {
	case s == nil || s.Expire == 0 && s.MaxAttempts == 0:
		return r.Expiry(created, nullSender)
	case s.Expire > 0:
		return created.Add(s.Expire)
	}
	return 0
}

// Over says whether a recipient that was just deferred is to be returned instead of tried
// again, after so many failures.
func (s *Schedule) Over(r Retry, failures int, created, now Time, nullSender bool) bool {
	if s != nil && s.MaxAttempts > 0 {
		return failures >= s.MaxAttempts
	}
	return now >= s.Expiry(r, created, nullSender)
}

// Notice returns the age of the next notice that was not sent when all up to the age told
// were; false when there is none.
func (s *Schedule) Notice(told time.Duration) (time.Duration, bool) {
	if s != nil {
		for _, age := range s.Notices {
			if age > told {
				return age, true
			}
		}
	}
	return 0, false
}

// Noticed returns the age up to which all notices are due at the given age; false when
// that is no more than told, up to which they were sent.
func (s *Schedule) Noticed(told, age time.Duration) (time.Duration, bool) {
	due := told
	if s != nil {
		for _, at := range s.Notices {
			if at <= age {
				due = max(due, at)
			}
		}
	}
	return due, due > told
}
