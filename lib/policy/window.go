package policy

import (
	"fmt"
	"time"
)

// Window is when mail may leave.
type Window struct {
	Name string
	Days uint8 // bit 0 is Sunday; 0: every day
	// Hours are parts of a day. One that ends before it begins goes on in the next day, and
	// belongs to the day it begins in. None: all day.
	Hours []Hours
	Zone  string // of the IANA database; "": UTC
	// ZoneData is the database's file for Zone, so that no daemon has to open it.
	ZoneData []byte

	place *time.Location
}

// Hours is a part of a day, in minutes since midnight.
type Hours struct{ From, To int }

// always says whether the window is never closed.
func (w *Window) always() bool { return w.Days&0x7f == 0 && len(w.Hours) == 0 }

// check makes the window ready.
func (w *Window) check() error {
	for _, h := range w.Hours {
		if h.From < 0 || h.From >= 1440 || h.To < 0 || h.To > 1440 || h.From == h.To {
			return fmt.Errorf("%w: window %s", ErrPolicy, w.Name)
		}
	}
	w.place = time.UTC
	if w.Zone == "" || w.Zone == "UTC" {
		return nil
	}
	place, err := time.LoadLocationFromTZData(w.Zone, w.ZoneData)
	if err != nil {
		return fmt.Errorf("%w: window %s: zone %s: %v", ErrPolicy, w.Name, w.Zone, err)
	}
	w.place = place
	return nil
}

// Open says whether mail may leave at t.
func (w *Window) Open(t time.Time) bool {
	if w.always() {
		return true
	}
	t = t.In(w.place)
	minute := t.Hour()*60 + t.Minute()
	if len(w.Hours) == 0 {
		return w.day(t.Weekday())
	}
	for _, h := range w.Hours {
		if h.From < h.To {
			if w.day(t.Weekday()) && h.From <= minute && minute < h.To {
				return true
			}
			continue
		}
		if w.day(t.Weekday()) && minute >= h.From || w.day((t.Weekday()+6)%7) && minute < h.To {
			return true
		}
	}
	return false
}

func (w *Window) day(d time.Weekday) bool { return w.Days&0x7f == 0 || w.Days>>d&1 != 0 }

// Next returns the first moment from t on at which the window is open: t itself while it
// is. Clocks that are set forward or back for summer are heeded. A window that is never
// open again within a week and a day, which no check accepts, opens then.
func (w *Window) Next(t time.Time) time.Time {
	if w.Open(t) {
		return t
	}
	// Windows open on a full minute of their zone.
	at := t.Truncate(time.Minute)
	for end := t.Add(8 * 24 * time.Hour); at.Before(end); {
		if at = at.Add(w.stride(at)); w.Open(at) {
			return at
		}
	}
	return at
}

// stride returns how far the next moment is at which the window may open.
func (w *Window) stride(t time.Time) time.Duration {
	local := t.In(w.place)
	minute := local.Hour()*60 + local.Minute()
	next := 1440
	for _, h := range w.Hours {
		if h.From > minute {
			next = min(next, h.From)
		}
	}
	// The last hour before it minute by minute: there a clock may be set.
	if left := next - minute; left > 180 {
		return time.Duration(left-180) * time.Minute
	}
	return time.Minute
}
