package schedcf

import (
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"postrider/lib/policy"
)

// withoutEffect names the parameters of main.cf that are set and that nothing reads any
// more, because every rule leads to something of sched.cf that speaks instead.
func (r *reader) withoutEffect() {
	p := r.p
	if r.Main == nil {
		return
	}
	rules := p.Rules
	if len(rules) == 0 {
		rules = []policy.Rule{{}}
	}
	all := func(is func(*policy.Rule) bool) bool {
		return !slices.ContainsFunc(rules, func(x policy.Rule) bool { return !is(&x) })
	}
	paced := all(func(x *policy.Rule) bool { s := &p.Schedules[x.Schedule]; return len(s.Retry) > 0 || s.Interval > 0 })
	ended := all(func(x *policy.Rule) bool { s := &p.Schedules[x.Schedule]; return s.Expire > 0 || s.MaxAttempts > 0 })
	told := all(func(x *policy.Rule) bool { s := &p.Schedules[x.Schedule]; return len(s.Notify) > 0 || s.NoNotify })
	source := func(has func(*policy.Source) bool) bool {
		return all(func(x *policy.Rule) bool {
			return !slices.ContainsFunc(p.Pools[x.Pool].Members, func(m policy.Member) bool { return !has(&p.Sources[m.Source]) })
		})
	}
	routed := all(func(x *policy.Rule) bool { return x.Route != 0 })
	for _, c := range []struct {
		unread bool
		by     string
		names  []string
	}{
		{paced, "every rule's schedule has retry or retry_interval", []string{"maximal_backoff_time"}},
		{ended, "every rule's schedule has expire or max_attempts", []string{"maximal_queue_lifetime", "bounce_queue_lifetime"}},
		{told, "every rule's schedule has notify", []string{"delay_warning_time"}},
		{source(func(s *policy.Source) bool { return slices.ContainsFunc(s.Addresses, netip.Addr.Is4) }),
			"every source has an IPv4 address", []string{"smtp_bind_address"}},
		{source(func(s *policy.Source) bool { return slices.ContainsFunc(s.Addresses, netip.Addr.Is6) }),
			"every source has an IPv6 address", []string{"smtp_bind_address6"}},
		{source(func(s *policy.Source) bool { return s.EHLO != "" }), "every source has ehlo", []string{"smtp_helo_name"}},
		{routed, "every rule has a route", []string{"relayhost", "transport_maps"}},
	} {
		for _, name := range c.names {
			if _, set := r.Main.Set(name); set && c.unread {
				r.warnf(hcl.Range{}, "%s in main.cf has no effect: %s", name, c.by)
			}
		}
	}
}
