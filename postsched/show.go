package postsched

import (
	"fmt"
	"strings"

	"postrider/lib/config"
	"postrider/lib/policy"
)

// showCommand is postsched show.
type showCommand struct {
	File string `arg:"" optional:"" help:"As of check."`
}

// Run shows all blocks with what main.cf adds, then the rules in order.
func (k *showCommand) Run(e *env) error {
	p, c, err := e.policy(k.File)
	if err != nil {
		return err
	}
	if p == nil {
		p = policy.New()
		if err := p.Check(); err != nil {
			return err
		}
		fmt.Fprintln(e.stdout, "# no sched.cf: everything is as main.cf says")
	}
	for _, x := range p.Parts() {
		text := x.Text
		if x.Kind == "schedule" {
			text = scheduleText(p, find(p.Schedules, func(s *policy.Schedule) bool { return s.Name == x.Name }), c)
		}
		fmt.Fprintf(e.stdout, "%-9s %-20s %s\n", x.Kind, x.Name, text)
	}
	for i := range p.Rules {
		fmt.Fprintf(e.stdout, "rule %-4d %-20s %s\n", i+1, p.Rules[i].Pos, p.ShowRule(i))
	}
	if len(p.Rules) == 0 {
		fmt.Fprintf(e.stdout, "rule      %-20s everything is of queue \"default\", by schedule \"default\"\n", "(none)")
	}
	return nil
}

func find[T any](list []T, is func(*T) bool) int {
	for i := range list {
		if is(&list[i]) {
			return i
		}
	}
	return 0
}

// scheduleText gives a schedule with main.cf's values for what it leaves out.
func scheduleText(p *policy.Policy, i int, c *config.Config) string {
	s := &p.Schedules[i]
	parts := p.ScheduleText(i)
	span := func(name string) string { return policy.Span(c.Duration(name)) }
	if len(s.Retry) == 0 && s.Interval == 0 {
		parts = append([]string{fmt.Sprintf("retry after its age, from %s to %s (minimal_backoff_time, maximal_backoff_time)",
			span("minimal_backoff_time"), span("maximal_backoff_time"))}, parts...)
	}
	if len(s.Notify) == 0 && !s.NoNotify {
		if d := c.Duration("delay_warning_time"); d > 0 {
			parts = append(parts, "notice after "+policy.Span(d)+" (delay_warning_time)")
		} else {
			parts = append(parts, "no delay notice (delay_warning_time)")
		}
	}
	if s.Expire == 0 && s.MaxAttempts == 0 {
		parts = append(parts, fmt.Sprintf("expires after %s, bounces after %s (maximal_queue_lifetime, bounce_queue_lifetime)",
			span("maximal_queue_lifetime"), policy.Span(min(c.Duration("bounce_queue_lifetime"), c.Duration("maximal_queue_lifetime")))))
	}
	return strings.Join(parts, ", ")
}
