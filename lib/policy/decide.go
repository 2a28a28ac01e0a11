package policy

import (
	"strconv"
	"strings"

	"postrider/lib/mail"
)

// Decide says what holds for a recipient: the first rule whose condition holds, and every
// limit whose condition does. d is written anew, its memory is used again. When something
// is lacking it returns what, and d means nothing: the caller finds it out, adds it to f,
// and asks again. It never waits, and takes no memory but for keys of several parts.
//
// A nil Policy decides as Postfix would.
func (p *Policy) Decide(f *Facts, d *Decision) *Need {
	*d = Decision{Limits: d.Limits[:0], Level: Normal}
	if p == nil {
		return nil
	}
	r := run{p: p, f: f}
	if !r.own() {
		return r.need
	}
	for i := range p.Rules {
		rule := &p.Rules[i]
		is := r.holds(rule.When)
		if r.need != nil {
			return r.need
		}
		if is {
			p.apply(i, d)
			break
		}
	}
	f.queue = p.Queues[d.Queue].Name
	for i := range p.Limits {
		l := &p.Limits[i]
		if !r.holds(l.When) || r.need != nil {
			if r.need != nil {
				return r.need
			}
			continue
		}
		key := r.key(l.Keys)
		if r.need != nil {
			return r.need
		}
		d.Limits = append(d.Limits, LimitKey{i, key})
	}
	return nil
}

// own works out the facts that the policy itself defines.
func (r *run) own() bool {
	p, f := r.p, r.f
	f.queue, f.tenant, f.campaign, f.priority = "", "", "", f.Priority
	f.tenant = r.value(p.Tenant)
	f.campaign = r.value(p.Campaign)
	if p.Priority != nil && !f.HasPriority {
		if n, err := strconv.Atoi(r.value(p.Priority)); err == nil {
			f.priority = min(max(n, -9), 9)
		}
	}
	return r.need == nil
}

// apply takes the decision of a rule.
func (p *Policy) apply(i int, d *Decision) {
	rule := &p.Rules[i]
	d.Rule, d.Queue, d.Schedule, d.Pool, d.Route, d.Window = i, rule.Queue, rule.Schedule, rule.Pool, rule.Route, rule.Window
	if d.Window == 0 {
		d.Window = p.Schedules[d.Schedule].Window
	}
	if d.Level = rule.Level; d.Level == NoLevel {
		d.Level = p.Queues[d.Queue].Level
	}
}

// key returns the key that a tuple of texts makes.
func (r *run) key(keys []Expr) string {
	switch len(keys) {
	case 0:
		return ""
	case 1:
		return r.value(keys[0])
	}
	var room [128]byte
	b := room[:0]
	for _, k := range keys {
		b = append(append(b, r.value(k)...), 0)
	}
	return string(b)
}

// Times returns the texts of the times before which a message is not to be tried and after
// which it is given up, for ParseTime; "" for none.
func (p *Policy) Times(f *Facts) (sendAt, expireAt string) {
	if p == nil {
		return "", ""
	}
	r := run{p: p, f: f}
	if p.SendAt == nil && p.ExpireAt == nil || !r.own() {
		return "", ""
	}
	return r.value(p.SendAt), r.value(p.ExpireAt)
}

// Tell returns the facts that the policy itself defines, as Decide last worked them out.
func (f *Facts) Tell() (tenant, campaign string, priority int) {
	return f.tenant, f.campaign, f.priority
}

// Holds says whether the condition of a rule or limit holds, for explanations.
func (p *Policy) Holds(e Expr, f *Facts) (bool, *Need) {
	r := run{p: p, f: f}
	if !r.own() {
		return false, r.need
	}
	is := r.holds(e)
	return is, r.need
}

// KeyText shows the key of a limit: "tenant=acme, rcpt_domain=example.com".
func (p *Policy) KeyText(l LimitKey) string { return keyText(p.Limits[l.Limit].Keys, l.Key) }

// keyText shows a key that run.key has made.
func keyText(keys []Expr, key string) string {
	values := []string{key}
	if len(keys) != 1 {
		values = strings.Split(strings.TrimSuffix(key, "\x00"), "\x00")
	}
	var parts []string
	for i, k := range keys {
		if i < len(values) {
			parts = append(parts, k.String()+"="+values[i])
		}
	}
	return strings.Join(parts, ", ")
}

// GroupOf returns the mx_group of a next hop: the first declared provider that has one of
// its mail hosts, else registered, the registered domain of the best of them. hosts are
// in lower case, the best first.
func (p *Policy) GroupOf(hosts []string, registered string) string {
	if p != nil {
		for i := range p.Providers {
			for _, top := range p.Providers[i].MX {
				for _, h := range hosts {
					if under(h, top) {
						return p.Providers[i].Name
					}
				}
			}
		}
	}
	return registered
}

// UsesMX says whether any condition or key has mx_group in it.
func (p *Policy) UsesMX() bool { return p != nil && p.ready.mx }

// ClassOf returns the fact last_class of a failure, by its enhanced status code and
// whether the other side said it.
func ClassOf(st *mail.Status) string {
	_, detail, _ := strings.Cut(st.DSN, ".")
	switch detail {
	case "":
		return ""
	case "4.3", "4.4":
		return "dns"
	case "4.1", "4.2":
		return "connection"
	case "7.4", "7.5", "7.10", "7.11":
		return "tls"
	}
	subject, _, _ := strings.Cut(detail, ".")
	switch {
	case subject == "2":
		return "mailbox"
	case subject == "7":
		return "policy"
	case st.Diag != "":
		return "reply"
	case subject == "3":
		return "system"
	}
	return "other"
}
