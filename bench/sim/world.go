package main

import (
	"math"
	"math/rand/v2"
	"time"

	"postrider/lib/sched"
)

// world is what is played: destinations and the mail for them.
type world struct {
	seed    uint64
	classes []string
	sites   []site
	streams []stream
	bulk    []bulk
	end     sched.Time
	limits  limits

	// service and watch replace attempt, and hear of each delivery, where they are set.
	service func(site int32, message, recipient uint32, now sched.Time) (time.Duration, bool)
	watch   func(m *message, recipients []uint32, began, ended sched.Time, ok bool)
}

// site is a destination.
type site struct {
	took     time.Duration // a delivery, in the mean
	timeout  time.Duration // a failure
	hole     bool          // never answers
	from, to sched.Time    // is down between
}

// stream is mail for one recipient each, arriving by chance.
type stream struct {
	class  int
	rate   float64 // messages a second, in the mean
	daily  bool    // more by day than by night
	to     sched.Time
	pick   func(*rand.Rand) int32
	chance *rand.Rand
}

// bulk is one message for many.
type bulk struct {
	class    int
	at       sched.Time
	created  sched.Time // when not at, as counts for its retries
	deferred bool       // it lies in the deferred queue at the beginning
	rank     int        // its place in incoming, where that is not the order of arrival
	sites    []int32
}

// gap returns the time from now to the next message of s.
func (s *stream) gap(now sched.Time) time.Duration {
	rate := s.rate
	if s.daily {
		rate *= 1 - 0.8*math.Cos(2*math.Pi*float64(now)/float64(s.to))
	}
	return time.Duration(s.chance.ExpFloat64() / rate * float64(time.Second))
}

// attempt returns how long a delivery takes and whether it succeeds. The same
// message takes the same time with every scheduler.
func (w *world) attempt(n int32, message, recipient uint32, now sched.Time) (time.Duration, bool) {
	if w.service != nil {
		return w.service(n, message, recipient, now)
	}
	id := message + recipient<<12
	s := &w.sites[n]
	chance := rand.NewPCG(w.seed^uint64(id)<<20, uint64(n)).Uint64()
	vary := 0.5 + float64(chance>>11)/(1<<53)
	if s.hole || now >= s.from && now < s.to {
		return s.timeout, false
	}
	return time.Duration(float64(s.took) * vary), true
}

// since returns from when a message that arrived at a moment could be delivered,
// false when never.
func (s *site) since(arrived, end sched.Time) (sched.Time, bool) {
	switch {
	case s.hole, s.to >= end && s.from < s.to:
		return 0, false
	case arrived >= s.from && arrived < s.to:
		return s.to, true
	}
	return arrived, true
}

// zipf returns a choice among sites from first on, the k-th with weight 1/k.
func zipf(first, n int) func(*rand.Rand) int32 {
	sum := make([]float64, n)
	total := 0.0
	for i := range sum {
		total += 1 / float64(i+1)
		sum[i] = total
	}
	return func(r *rand.Rand) int32 {
		x := r.Float64() * total
		lo, hi := 0, n-1
		for lo < hi {
			if mid := (lo + hi) / 2; sum[mid] < x {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		return int32(first + lo)
	}
}

// even returns a choice among n sites from first on, all alike.
func even(first, n int) func(*rand.Rand) int32 {
	return func(r *rand.Rand) int32 { return int32(first + r.IntN(n)) }
}
