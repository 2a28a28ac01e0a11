package schedcf

import (
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"

	"postrider/lib/policy"
)

// usualInterval is retry_interval where only max_retry_interval or jitter is given, as
// KumoMTA has it.
const usualInterval = 20 * time.Minute

func (r *reader) schedule(b *block, d declaration) {
	s := &r.p.Schedules[d.index]
	*s = policy.Schedule{Name: d.name, Jitter: -1, Window: b.ref("window", "window")}
	var ladder []hcl.Range
	s.Retry, ladder, _ = b.durations("retry")
	s.Interval, _ = b.duration("retry_interval")
	s.MaxInterval, _ = b.duration("max_retry_interval")
	if n, ok := b.percent("jitter"); ok {
		s.Jitter = n
	}
	has := func(name string) bool { return b.body.Attributes[name] != nil }
	if has("retry") && (has("retry_interval") || has("max_retry_interval")) {
		b.errorf(b.at, "schedule %q has retry, a ladder, and retry_interval, which doubles: choose one", d.name)
		s.Interval, s.MaxInterval = 0, 0
	}
	if has("retry") && len(s.Retry) == 0 && len(ladder) == 0 {
		b.errorf(b.body.Attributes["retry"].Expr.Range(), "retry: write at least one time")
	}
	if s.MaxInterval > 0 && s.Interval == 0 {
		s.Interval = usualInterval
	}
	if s.MaxInterval > 0 && s.MaxInterval < s.Interval {
		b.errorf(b.body.Attributes["max_retry_interval"].Expr.Range(), "max_retry_interval is below retry_interval, %s", policy.Span(s.Interval))
	}
	r.tiers(b, s)
	r.end(b, s, ladder)
	b.done("tier")
}

// tiers reads the blocks of that name.
func (r *reader) tiers(b *block, s *policy.Schedule) {
	for _, x := range b.body.Blocks {
		if x.Type != "tier" {
			continue
		}
		tb := r.block(x)
		t := policy.Tier{}
		if len(x.Labels) == 1 {
			t.Name = x.Labels[0]
		} else {
			r.errorf(x.DefRange(), "tier needs one name in quotes")
		}
		after, okAfter := tb.number("after", 1, 1_000_000)
		every, okEvery := tb.duration("every")
		tb.done()
		if !okAfter || !okEvery {
			if tb.body.Attributes["after"] == nil || tb.body.Attributes["every"] == nil {
				r.errorf(x.DefRange(), "tier %q needs after, a number of failures, and every, a time", t.Name)
			}
			continue
		}
		t.After, t.Every = after, every
		if slices.ContainsFunc(s.Tiers, func(o policy.Tier) bool { return o.After == t.After }) {
			r.errorf(x.DefRange(), "two tiers begin after %d failures", t.After)
			continue
		}
		s.Tiers = append(s.Tiers, t)
	}
	slices.SortFunc(s.Tiers, func(a, b policy.Tier) int { return a.After - b.After })
}

// end reads when mail is given up and when its sender hears of the delay, and compares
// that with the pace.
func (r *reader) end(b *block, s *policy.Schedule, ladder []hcl.Range) {
	has := func(name string) bool { return b.body.Attributes[name] != nil }
	var notices []hcl.Range
	s.Notify, notices, _ = b.durations("notify")
	s.NoNotify = has("notify") && len(s.Notify) == 0
	for i := 1; i < len(s.Notify); i++ {
		if s.Notify[i] <= s.Notify[i-1] {
			b.errorf(notices[i], "notify: each time counts from arrival, so it is above the one before")
		}
	}
	s.Expire, _ = b.duration("expire")
	s.MaxAttempts, _ = b.number("max_attempts", 1, 1_000_000)
	if has("expire") && has("max_attempts") {
		b.errorf(b.body.Attributes["max_attempts"].NameRange, "schedule %q has expire and max_attempts: choose one", s.Name)
		s.MaxAttempts = 0
		return
	}
	if n := s.MaxAttempts; n > 0 {
		if n <= len(s.Retry) && n-1 < len(ladder) {
			b.warnf(ladder[n-1], "max_attempts = %d is below the ladder: with %d attempts there are %d retries, this step and what follows are never reached", n, n, n-1)
		}
		for _, t := range s.Tiers {
			if t.After >= n {
				b.warnf(b.body.Attributes["max_attempts"].NameRange, "tier %q begins after %d failures, but max_attempts = %d ends it before", t.Name, t.After, n)
			}
		}
	}
	if s.Expire == 0 {
		return
	}
	for i, d := range s.Notify {
		if d >= s.Expire {
			b.warnf(notices[i], "notify: after %s the message has expired", policy.Span(d))
		}
	}
	var sum time.Duration
	for i, d := range s.Retry {
		if sum += d; sum > s.Expire && i < len(s.Retry)-1 {
			b.warnf(ladder[i+1], "expire = %s is before this step of the ladder, which comes after %s", policy.Span(s.Expire), policy.Span(sum))
			break
		}
	}
}
