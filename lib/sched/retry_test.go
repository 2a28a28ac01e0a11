package sched

import (
	"testing"
	"time"
)

func TestRetry(t *testing.T) {
	day := 24 * time.Hour
	r := Retry{MinBackoff: 300 * time.Second, MaxBackoff: 4000 * time.Second, Lifetime: 5 * day, BounceLifetime: day}
	for age, want := range map[time.Duration][2]time.Duration{0: {300, 315}, 300: {300, 315}, 600: {600, 630},
		1200: {1200, 1260}, 3900: {3805, 4000}, 4000: {3800, 4000}, 90000: {3800, 4000}} {
		now := Time(age * time.Second)
		least, most := time.Duration(1<<62), time.Duration(0)
		for key := range uint64(2000) {
			d := r.Next(0, now, key).Sub(now)
			least, most = min(least, d), max(most, d)
		}
		if least < want[0]*time.Second || most > want[1]*time.Second {
			t.Errorf("age %ds: delays from %v to %v, want %d s", age, least, most, want)
		}
		if room := want[1] - want[0]; most-least < room*time.Second*99/100 {
			t.Errorf("age %ds: delays from %v to %v, the herd stays together", age, least, most)
		}
	}
	// A clock that was set back, or mail from the future, does not wait less.
	if got := r.Next(Time(day), 0, 1); got < Time(300*time.Second) || got > Time(315*time.Second) {
		t.Errorf("mail from the future is tried at %v", got)
	}
	for _, c := range []struct {
		age  time.Duration
		null bool
		want bool
	}{{0, false, false}, {5*day - 1, false, false}, {5 * day, false, true}, {day - 1, true, false}, {day, true, true}} {
		if got := r.Expired(0, Time(c.age), c.null); got != c.want {
			t.Errorf("expired at age %v, null sender %v: %v", c.age, c.null, got)
		}
	}
	r.BounceLifetime = 9 * day
	if !r.Expired(0, Time(5*day), true) {
		t.Error("a bounce outlives maximal_queue_lifetime")
	}
	if r.Lifetime = 0; !r.Expired(0, 0, false) {
		t.Error("lifetime 0 is more than one attempt")
	}
}

// 50,000 messages that were deferred in one moment come back evenly: no second of
// the 15 brings much more than its share. Another seed gives other times, the
// same seed the same.
func TestJitter(t *testing.T) {
	r := Retry{MinBackoff: 300 * time.Second, MaxBackoff: 4000 * time.Second, Seed: 1}
	var perSecond [16]int
	other := r
	other.Seed = 2
	differ := 0
	for key := range uint64(50000) {
		at := r.Next(0, 0, key)
		perSecond[time.Duration(at)/time.Second-300]++
		if at != r.Next(0, 0, key) {
			t.Fatal("the same seed, message and time gave two answers")
		}
		if at != other.Next(0, 0, key) {
			differ++
		}
	}
	for s, n := range perSecond[:15] {
		if n < 3000 || n > 3700 {
			t.Errorf("second %d brings %d of 50000", s, n)
		}
	}
	if differ < 49000 {
		t.Errorf("the seed counts for %d of 50000", differ)
	}
	r.MaxBackoff = r.MinBackoff
	if got := r.Next(0, 0, 5); got < Time(r.MinBackoff) {
		t.Errorf("equal bounds: %v", got)
	}
	if got := (Retry{}).Next(0, 7, 0); got != 7 {
		t.Errorf("no bounds: due at %d", got)
	}
}
