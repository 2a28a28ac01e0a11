package spool

import (
	"time"

	"postrider/lib/mutant"
)

// clock keeps spool time (spool.md, "Time"): it runs on the monotonic clock,
// drifts toward the wall clock by at most a tenth of its speed, and answers a
// step of more than five minutes by an offset between the two that is kept in
// the log. It never goes back, over a restart either.
type clock struct {
	wall func() time.Time
	mono func() time.Duration

	spool  time.Time     // at the last look
	last   time.Duration // mono at the last look
	offset time.Duration // spool minus wall, as far as it is wanted
}

const (
	clockStep   = 5 * time.Minute // what is more is no drift
	clockGap    = 24 * time.Hour  // at most so much of a stop counts
	clockSlew   = 10              // drift corrected in a tenth of the time
	clockLogged = time.Minute     // spool time is logged so often, if anything is
)

// start sets the clock going again after it was seen at time last with the
// given offset; the zero time when it never ran. It returns how much of the
// stop did not count.
func (c *clock) start(last time.Time, offset time.Duration) (ignored time.Duration) {
	c.last = c.mono()
	wall := c.wall().Round(0) // without its monotonic reading
	if last.IsZero() {
		c.spool, c.offset = wall, 0
		return 0
	}
	c.spool, c.offset = wall.Add(offset), offset
	switch gap := c.spool.Sub(last); {
	case gap < 0:
		c.spool = last
	case gap > clockGap:
		c.spool = last.Add(clockGap)
	}
	ignored = wall.Add(offset).Sub(c.spool)
	c.offset = c.spool.Sub(wall)
	return ignored
}

// now returns spool time, and whether the wall clock was stepped since the
// last call, so that the offset is to be logged.
func (c *clock) now() (t time.Time, stepped bool) {
	m := c.mono()
	ran := max(m-c.last, 0)
	c.last = m
	c.spool = c.spool.Add(ran)
	wall := c.wall().Round(0)
	off := wall.Add(c.offset).Sub(c.spool)
	if mutant.On(mutant.ClockFollows) {
		c.spool = wall
		return c.spool, false
	}
	if off > clockStep || off < -clockStep {
		c.offset = c.spool.Sub(wall)
		return c.spool, true
	}
	most := ran / clockSlew
	c.spool = c.spool.Add(min(max(off, -most), most))
	return c.spool, false
}
