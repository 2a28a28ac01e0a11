package policy

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ErrSyntax is the kind of error for a duration, rate, size or time that cannot be read.
var ErrSyntax = errors.New("cannot be read")

// units of time, in all the spellings of the systems whose policies are carried over.
var units = map[string]time.Duration{}

func init() {
	for d, names := range map[time.Duration]string{
		time.Millisecond:   "ms",
		time.Second:        "s sec secs second seconds",
		time.Minute:        "m min mins minute minutes",
		time.Hour:          "h hr hrs hour hours",
		24 * time.Hour:     "d day days",
		7 * 24 * time.Hour: "w week weeks",
	} {
		for _, n := range strings.Fields(names) {
			units[n] = d
		}
	}
}

// ParseDuration reads "90s", "4h", "1h30m", "20 minutes", or a number of seconds. An error
// is of kind ErrSyntax.
func ParseDuration(s string) (time.Duration, error) {
	rest := strings.ToLower(strings.TrimSpace(s))
	bad := fmt.Errorf("%q %w: write a number and a unit, as \"20m\", \"4h\" or \"7d\"", s, ErrSyntax)
	if rest == "" {
		return 0, bad
	}
	var sum float64
	for rest != "" {
		n := strings.IndexFunc(rest, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
		if n < 0 {
			n = len(rest)
		}
		x, err := strconv.ParseFloat(rest[:n], 64)
		if err != nil {
			return 0, bad
		}
		rest = strings.TrimLeft(rest[n:], " ")
		n = strings.IndexFunc(rest, func(r rune) bool { return r < 'a' || r > 'z' })
		if n < 0 {
			n = len(rest)
		}
		unit := time.Second
		if n > 0 || rest != "" || sum > 0 {
			var ok bool
			if unit, ok = units[rest[:n]]; !ok {
				return 0, bad
			}
		}
		sum += x * float64(unit)
		rest = strings.TrimLeft(rest[n:], " ")
	}
	if sum > math.MaxInt64/2 {
		return 0, bad
	}
	return time.Duration(sum), nil
}

// ParseRate reads "1,000/hr", "10_000/d", "10/s" or "100/5m". Its burst is 1. An error is of
// kind ErrSyntax.
func ParseRate(s string) (Rate, error) {
	bad := fmt.Errorf("%q %w: write how many in which time, as \"1,000/hr\" or \"10/s\"", s, ErrSyntax)
	count, per, ok := strings.Cut(s, "/")
	if !ok {
		return Rate{}, bad
	}
	n, err := strconv.ParseInt(strings.NewReplacer(",", "", "_", "").Replace(strings.TrimSpace(count)), 10, 64)
	if err != nil || n < 1 {
		return Rate{}, bad
	}
	per = strings.ToLower(strings.TrimSpace(per))
	d, ok := units[per]
	if !ok {
		if _, err := strconv.ParseFloat(per, 64); err == nil {
			return Rate{}, bad
		}
		if d, err = ParseDuration(per); err != nil || d <= 0 {
			return Rate{}, bad
		}
	}
	if d/time.Duration(n) <= 0 {
		return Rate{}, fmt.Errorf("%q %w: more than one in a nanosecond", s, ErrSyntax)
	}
	return Rate{Count: n, Per: d, Burst: 1}, nil
}

// ParseSize reads "10MB", "64k" or a number of bytes; each letter is a step of 1024. An
// error is of kind ErrSyntax.
func ParseSize(s string) (int64, error) {
	text := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(s), " ", ""))
	num := strings.TrimRight(text, "kmgib")
	shift, ok := map[string]int{"": 0, "b": 0, "k": 10, "kb": 10, "kib": 10, "m": 20, "mb": 20, "mib": 20, "g": 30, "gb": 30, "gib": 30}[text[len(num):]]
	n, err := strconv.ParseInt(strings.NewReplacer(",", "", "_", "").Replace(num), 10, 64)
	if err != nil || !ok || n < 0 || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q %w: write a number of bytes, or as \"10MB\"", s, ErrSyntax)
	}
	return n << shift, nil
}

// timeForms are how a header may give a moment.
var timeForms = []string{time.RFC3339, time.RFC1123Z, time.RFC1123, "Mon, 2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05 -0700",
	"2006-01-02T15:04Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 -0700"}

// ParseTime reads a moment in RFC 3339 or RFC 5322, or a duration, which counts from
// arrival. An error is of kind ErrSyntax.
func ParseTime(s string, arrival time.Time) (time.Time, error) {
	s = strings.TrimSpace(s)
	for _, form := range timeForms {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	d, err := ParseDuration(strings.TrimPrefix(s, "+"))
	if err != nil {
		return time.Time{}, fmt.Errorf("time %q %w: write it as \"2026-05-01T08:00:00+02:00\", as a Date field does, or as \"2h\" after arrival", s, ErrSyntax)
	}
	return arrival.Add(d), nil
}
