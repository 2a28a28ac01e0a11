package maillog

import (
	"strconv"
	"time"
)

// delays are the figures of delay= and delays=.
type delays struct {
	total time.Duration
	parts [4]time.Duration
}

func (e *Delivery) delays() delays {
	done := e.Done
	if done.IsZero() {
		done = time.Now()
	}
	var d delays
	d.total = since(e.Arrival, done)
	switch p := &d.parts; {
	case e.Active.IsZero():
		p[0] = d.total
	case e.Handed.IsZero():
		p[0], p[1] = since(e.Arrival, e.Active), since(e.Active, done)
	case e.Connected.IsZero():
		p[0], p[1], p[3] = since(e.Arrival, e.Active), since(e.Active, e.Handed), since(e.Handed, done)
	default:
		from := e.Connected
		if from.Before(e.Handed) { // a connection kept from an earlier delivery
			from = e.Handed
		}
		p[0], p[1] = since(e.Arrival, e.Active), since(e.Active, e.Handed)
		p[2], p[3] = since(e.Handed, from), since(from, done)
	}
	return d
}

// since is the time from a to b, never negative: the clock may have been set.
func since(a, b time.Time) time.Duration {
	if a.IsZero() || b.Before(a) {
		return 0
	}
	return b.Sub(a)
}

func (l *line) int(n int64) { l.b = strconv.AppendInt(l.b, n, 10) }

// delay appends seconds as Postfix's format_tv: two significant digits, no
// more decimals than the resolution allows, rounded to nearest, no zeros at
// the end of a fraction.
func (l *line) delay(d time.Duration) {
	us := d.Microseconds()
	unit := int64(1e6) // in microseconds: the last digit that is shown
	for range l.resolution {
		unit /= 10
	}
	switch {
	case us >= 10e6:
		unit = max(unit, 1e6)
	case us >= 1e6:
		unit = max(unit, 1e5)
	default:
		for unit*100 <= us {
			unit *= 10
		}
	}
	us = (us + unit/2) / unit * unit
	l.int(us / 1e6)
	if us %= 1e6; us == 0 {
		return
	}
	l.b = append(l.b, '.')
	for digit := int64(1e5); us > 0; digit /= 10 {
		l.b = append(l.b, byte('0'+us/digit))
		us %= digit
	}
}
