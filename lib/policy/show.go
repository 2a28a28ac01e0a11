package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Shown is one part of a policy in words.
type Shown struct {
	Kind, Name string
	Text       string // "slots 1000, priority high"
}

// Parts are all blocks of a policy but its rules, with the defaults, in words.
func (p *Policy) Parts() []Shown {
	var out []Shown
	add := func(kind, name string, parts ...string) {
		parts = filled(parts)
		out = append(out, Shown{kind, name, strings.Join(parts, ", ")})
	}
	for i := range p.Queues {
		q := &p.Queues[i]
		add("queue", q.Name, unless(q.Slots == 0, "slots %d", q.Slots), "priority "+q.Level.String(), fmt.Sprintf("weight %d", q.Weight),
			unless(q.Share < 0, "share %d%%", q.Share))
	}
	for i := range p.Schedules {
		add("schedule", p.Schedules[i].Name, p.ScheduleText(i)...)
	}
	for i := range p.Sources {
		s := &p.Sources[i]
		var addrs []string
		for _, a := range s.Addresses {
			addrs = append(addrs, a.String())
		}
		add("source", s.Name, unless(addrs == nil, "address %s", strings.Join(addrs, " and ")), unless(s.EHLO == "", "ehlo %s", s.EHLO),
			unless(s.Connections == 0, "connections %d", s.Connections))
	}
	for i := range p.Pools {
		var members []string
		for _, m := range p.Pools[i].Members {
			members = append(members, fmt.Sprintf("%s weight %d", p.Sources[m.Source].Name, m.Weight))
		}
		add("pool", p.Pools[i].Name, members...)
	}
	for i := range p.Routes {
		add("route", p.Routes[i].Name, p.Routes[i].String())
	}
	for i := range p.Windows {
		add("window", p.Windows[i].Name, p.Windows[i].String())
	}
	for i := range p.Limits {
		add("limit", p.Limits[i].Name, p.LimitText(i))
	}
	for i := range p.Quotas {
		q := &p.Quotas[i]
		add("quota", q.Name, p.keyText(q.Keys, false), unless(q.When == nil, "when %s", p.Show(q.When)), fmt.Sprintf("messages %d", q.Messages))
	}
	for i := range p.Providers {
		add("provider", p.Providers[i].Name, "mx "+strings.Join(p.Providers[i].MX, " "))
	}
	for _, f := range []struct {
		name string
		e    Expr
	}{{"tenant", p.Tenant}, {"campaign", p.Campaign}, {"priority", p.Priority}, {"send_at", p.SendAt}, {"expire_at", p.ExpireAt}} {
		if f.e != nil {
			add("fact", f.name, p.Show(f.e))
		}
	}
	add("priorities", "", strconv.FormatBool(p.Priorities), unless(!p.Priorities, "aging %s", Span(p.Aging)))
	return out
}

// ScheduleText gives a schedule in words; what is main.cf's is left out.
func (p *Policy) ScheduleText(i int) []string {
	s := &p.Schedules[i]
	var out []string
	switch {
	case len(s.Retry) > 0:
		out = append(out, "retry after "+spans(s.Retry))
	case s.Interval > 0 && s.MaxInterval > 0:
		out = append(out, fmt.Sprintf("retry after %s, doubling up to %s", Span(s.Interval), Span(s.MaxInterval)))
	case s.Interval > 0:
		out = append(out, fmt.Sprintf("retry after %s, doubling", Span(s.Interval)))
	}
	for _, t := range s.Tiers {
		out = append(out, fmt.Sprintf("after %d failures every %s (%s)", t.After, Span(t.Every), t.Name))
	}
	return append(out, filled([]string{unless(s.Jitter < 0, "jitter %d%%", s.Jitter), unless(len(s.Notify) == 0, "notices after %s", spans(s.Notify)),
		unless(!s.NoNotify, "no delay notice"), unless(s.Expire == 0, "expires after %s", Span(s.Expire)),
		unless(s.MaxAttempts == 0, "at most %d attempts", s.MaxAttempts), unless(s.Window == 0, "in the window %s", p.Windows[s.Window].Name)})...)
}

// LimitText gives a limit in words.
func (p *Policy) LimitText(i int) string {
	l := &p.Limits[i]
	parts := []string{p.keyText(l.Keys, l.PerSource), unless(l.When == nil, "when %s", p.Show(l.When))}
	for _, r := range l.Rates {
		parts = append(parts, r.String())
	}
	return strings.Join(filled(append(parts, unless(l.Connections == 0, "%d connections", l.Connections))), ", ")
}

func (p *Policy) keyText(keys []Expr, source bool) string {
	var names []string
	for _, k := range keys {
		names = append(names, p.Show(k))
	}
	if source {
		names = append(names, "source")
	}
	if names == nil {
		return "for all together"
	}
	return "for each " + strings.Join(names, ", ")
}

// String gives a rate as an operator writes it.
func (r Rate) String() string {
	s := fmt.Sprintf("%d/%s", r.Count, Span(r.Per))
	if r.Burst > 1 {
		s += fmt.Sprintf(" with bursts of %d", r.Burst)
	}
	return s
}

// String says where a route leads.
func (r *Route) String() string {
	switch r.Kind {
	case RouteMaildir:
		return "into the maildir " + r.Path
	case RouteError:
		return "error: " + r.Status.DSN + " " + r.Status.Text
	case RouteDiscard:
		return "discard: " + r.Status.Text
	case RouteDefault:
		return "as main.cf routes"
	}
	var hops []string
	for _, h := range r.Hops {
		hops = append(hops, h.String())
	}
	s := "smtp"
	if r.LMTP {
		s = "lmtp"
	}
	if r.Transport != "" {
		s = "transport " + r.Transport
	}
	s += " to " + strings.Join(hops, ", then ")
	if r.Connections > 0 {
		s += fmt.Sprintf(", %d connections per domain", r.Connections)
	}
	return s
}

// String gives a next hop: "mx.example.com[10.0.0.1]:25".
func (h Hop) String() string {
	if h.Path != "" {
		return "unix:" + h.Path
	}
	s := h.Name
	if h.Addr.IsValid() {
		s += "[" + h.Addr.String() + "]"
	}
	if h.Port != 0 {
		s += fmt.Sprintf(":%d", h.Port)
	}
	return s
}

// String says when a window is open.
func (w *Window) String() string {
	if w.always() {
		return "always open"
	}
	var parts []string
	for i, d := range []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} {
		if w.Days>>i&1 != 0 {
			parts = append(parts, d)
		}
	}
	for _, h := range w.Hours {
		parts = append(parts, fmt.Sprintf("%02d:%02d-%02d:%02d", h.From/60, h.From%60, h.To/60, h.To%60))
	}
	if w.Zone == "" {
		return strings.Join(append(parts, "UTC"), " ")
	}
	return strings.Join(append(parts, w.Zone), " ")
}

// Span shows a time as an operator writes it: "5m", "4h", "3d".
func Span(d time.Duration) string {
	if d >= 24*time.Hour && d%(24*time.Hour) == 0 {
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	}
	s := d.String()
	for _, zero := range []string{"0s", "0m"} {
		if len(s) > 2 && s[len(s)-2:] == zero && (s[len(s)-3] == 'm' || s[len(s)-3] == 'h') {
			s = s[:len(s)-2]
		}
	}
	return s
}

func spans(list []time.Duration) string {
	var out []string
	for _, d := range list {
		out = append(out, Span(d))
	}
	return strings.Join(out, " ")
}

// showCount gives a number fact as an operator writes it.
func showCount(f Fact, n int64) string {
	if f == Age {
		return Span(time.Duration(n).Truncate(time.Second))
	}
	return strconv.FormatInt(n, 10)
}

// unless formats a part, or gives "" when it does not matter.
func unless(empty bool, format string, args ...any) string {
	if empty {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

func filled(parts []string) []string {
	var out []string
	for _, s := range parts {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}
