package sched

import "time"

// Time is a moment of spool time: nanoseconds that never run backwards.
type Time int64

// Add returns the moment d after t.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns how long t is after u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }
