package policy

import (
	"errors"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"2m": 2 * time.Minute, "1h30m": 90 * time.Minute, "20 minutes": 20 * time.Minute, "7 days": 168 * time.Hour, "1 hour": time.Hour,
		"60": time.Minute, "1.5h": 90 * time.Minute, "500ms": 500 * time.Millisecond, "2w": 336 * time.Hour, "0": 0,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "m", "5x", "-3m", "1h 5", "5m5", "..", "99999999999999w"} {
		if got, err := ParseDuration(s); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}

// TestParseRate has every example of KumoMTA's document (KU-06, KU-07).
func TestParseRate(t *testing.T) {
	for s, want := range map[string]Rate{
		"10/s": {10, time.Second, 1}, "10/sec": {10, time.Second, 1}, "10/second": {10, time.Second, 1},
		"50/m": {50, time.Minute, 1}, "50/min": {50, time.Minute, 1}, "50/minute": {50, time.Minute, 1},
		"1,000/hr": {1000, time.Hour, 1}, "1_000/h": {1000, time.Hour, 1}, "1000/hour": {1000, time.Hour, 1},
		"10_000/d": {10000, 24 * time.Hour, 1}, "10,000/day": {10000, 24 * time.Hour, 1}, "3 / 5m": {3, 5 * time.Minute, 1},
	} {
		if got, err := ParseRate(s); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "10", "/s", "0/s", "-1/s", "10/5", "10/fortnight", "10000000000/s"} {
		if got, err := ParseRate(s); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{"10MB": 10 << 20, "64k": 64 << 10, "1_000": 1000, "2 GiB": 2 << 30, "7b": 7} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "MB", "10XB", "10kk", "-1", "99999999999G"} {
		if got, err := ParseSize(s); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}

func TestParseTime(t *testing.T) {
	arrival := time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"2026-05-01T12:00:00+02:00":       arrival.Add(2 * time.Hour),
		"Fri, 1 May 2026 10:00:00 +0000":  arrival.Add(2 * time.Hour),
		"Fri, 01 May 2026 10:00:00 +0000": arrival.Add(2 * time.Hour),
		"2h":                              arrival.Add(2 * time.Hour),
		"+2h":                             arrival.Add(2 * time.Hour),
	} {
		if got, err := ParseTime(s, arrival); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", s, got, err, want)
		}
	}
	if _, err := ParseTime("tomorrow", arrival); !errors.Is(err, ErrSyntax) {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("1h30m")
	f.Add("1,000/hr")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDuration(s); err == nil && d < 0 {
			t.Error(d)
		}
		if r, err := ParseRate(s); err == nil && (r.Count < 1 || r.Per <= 0) {
			t.Error(r)
		}
		if n, err := ParseSize(s); err == nil && n < 0 {
			t.Error(n)
		}
		ParseTime(s, time.Unix(0, 0))
	})
}
