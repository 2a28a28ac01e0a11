package postsched

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strings"
	"time"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/database"
	"postrider/lib/dns"
	"postrider/lib/mail"
	"postrider/lib/operator"
	"postrider/lib/policy"
	"postrider/lib/proto"
	"postrider/lib/table"
)

// whyCommand is postsched why.
type whyCommand struct {
	Facts []string `short:"f" sep:"none" placeholder:"NAME=VALUE" help:"A fact of the message: sender=a@b, header.x-tenant=acme, attempts=3, age=4h, ..."`
	Of    []string `arg:"" name:"address|queueid" help:"Recipients, or messages in the queue."`
}

// Run explains each of them. The policy is that of the file; when the system runs by
// another one that is said.
func (k *whyCommand) Run(e *env) error {
	p, c, err := e.policy("")
	if err != nil {
		return err
	}
	if p == nil {
		fmt.Fprintln(e.stdout, "no sched.cf: everything is as main.cf says (postqueue -w says why a message waits)")
		return nil
	}
	x := &explainer{env: e, p: p, cfg: c}
	x.route, err = address.New(c, openFile)
	if err != nil {
		fmt.Fprintf(e.stderr, "postsched: warning: %v\n", err)
	}
	for _, spec := range p.Tables {
		o := address.TableOptions(c, openFile)
		o.Databases = database.Open
		maps, err := table.Open([]string{spec}, o)
		if err != nil {
			fmt.Fprintf(e.stderr, "postsched: warning: %v\n", err)
		}
		x.tables = append(x.tables, maps)
	}
	var ids []string
	for _, arg := range k.Of {
		if !strings.Contains(arg, "@") {
			ids = append(ids, arg)
			continue
		}
		f := policy.Facts{SourceKind: "user"}
		for _, line := range append([]string{"rcpt=" + arg}, k.Facts...) {
			if err := f.Set(line); err != nil {
				return err
			}
		}
		if err := x.explain(&f); err != nil {
			return err
		}
	}
	if ids == nil {
		return nil
	}
	return x.messages(ids, k.Facts)
}

// openFile opens a table's file as the caller may.
func openFile(path string) (*io.SectionReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(f, 0, st.Size()), nil
}

// messages asks the running qmgr for what it knows of messages.
func (x *explainer) messages(ids, more []string) error {
	q, _, err := operator.Open(x.cfg, false)
	if err != nil {
		return fmt.Errorf("the queue manager is asked for messages: %w", err)
	}
	defer q.Close()
	found := map[string]bool{}
	said := false
	err = q.Why(ids, func(r *proto.Reason) error {
		found[string(r.ID)] = true
		if now := policy.Sum(x.p.Encode()); r.Policy != now && !said {
			said = true
			fmt.Fprintln(x.stderr, "postsched: warning: the system runs by another sched.cf: this is what the file says; reload makes it hold")
		}
		fmt.Fprintf(x.stdout, "%s\n", r.ID)
		for i := range r.Fates {
			for _, name := range r.Fates[i].Names {
				if err := x.fate(r, &r.Fates[i], name, more); err != nil {
					return err
				}
			}
			if n := r.Fates[i].Recipients - uint64(len(r.Fates[i].Names)); n > 0 {
				fmt.Fprintf(x.stdout, "  and %d more recipients in the same state\n", n)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !found[id] {
			fmt.Fprintf(x.stderr, "postsched: warning: %s: not in the queue\n", id)
			err = errSaid
		}
	}
	return err
}

// fate explains one recipient of a message in the queue.
func (x *explainer) fate(r *proto.Reason, fate *proto.Fate, rcpt mail.Address, more []string) error {
	f := policy.Facts{Attempts: int(fate.Attempts), LastClass: fate.Class, Age: max(time.Since(r.Arrival), 0)}
	if f.Attempts == 0 {
		f.LastClass = ""
	}
	for _, line := range append(append(r.Facts, "rcpt="+string(rcpt)), more...) {
		if err := f.Set(line); err != nil {
			return err
		}
	}
	return x.explain(&f)
}

// explainer explains decisions.
type explainer struct {
	*env
	p      *policy.Policy
	cfg    *config.Config
	route  *address.Resolver
	tables []table.Maps
	groups map[string]string
}

// explain says what is decided for a recipient, and why.
func (x *explainer) explain(f *policy.Facts) error {
	if f.Transport == "" {
		rt, err := x.route.Resolve(context.Background(), mail.Address(f.Sender), mail.Address(f.Rcpt))
		if err != nil {
			return err
		}
		if rt.Bad != nil {
			fmt.Fprintf(x.stdout, "%s\n  cannot be delivered: %s\n", f.Rcpt, rt.Bad.Text)
			return nil
		}
		f.Transport, f.NextHop, f.Class = rt.Transport, strings.ToLower(rt.NextHop), rt.Class.String()
	}
	var d policy.Decision
	for need := x.p.Decide(f, &d); need != nil; need = x.p.Decide(f, &d) {
		if err := x.provide(f, need); err != nil {
			return err
		}
	}
	p := x.p
	fmt.Fprintf(x.stdout, "%s\n", f.Rcpt)
	say := func(what, format string, args ...any) {
		fmt.Fprintf(x.stdout, "  %-9s %s\n", what, fmt.Sprintf(format, args...))
	}
	say("facts", "%s", strings.Join(x.facts(f), ", "))
	for i := 0; i < len(p.Rules) && i < d.Rule; i++ {
		say("not", "%s: %s", x.rule(i), x.fails(p.Rules[i].When, f))
	}
	if len(p.Rules) > 0 {
		when := "takes all that is left"
		if p.Rules[d.Rule].When != nil {
			when = p.Rules[d.Rule].Text
		}
		say("rule", "%s: %s", x.rule(d.Rule), when)
	}
	q := &p.Queues[d.Queue]
	slots := "no limit of slots"
	if q.Slots > 0 {
		slots = fmt.Sprintf("%d slots", q.Slots)
	}
	say("queue", "%s: priority %s, %s, weight %d", q.Name, d.Level, slots, q.Weight)
	say("schedule", "%s: %s", p.Schedules[d.Schedule].Name, scheduleText(p, d.Schedule, x.cfg))
	if d.Route != 0 {
		say("route", "%s: %s", p.Routes[d.Route].Name, p.Routes[d.Route].String())
	} else {
		say("route", "%s to %s, as main.cf says", f.Transport, f.NextHop)
	}
	if d.Pool != 0 {
		var names []string
		for _, m := range p.Pools[d.Pool].Members {
			names = append(names, fmt.Sprintf("%s (weight %d)", p.Sources[m.Source].Name, m.Weight))
		}
		say("pool", "%s: %s", p.Pools[d.Pool].Name, strings.Join(names, ", "))
	}
	if d.Window != 0 {
		w := &p.Windows[d.Window]
		state := "open now"
		if now := time.Now(); !w.Open(now) {
			state = "closed, opens " + w.Next(now).Local().Format("Mon 2 Jan 15:04")
		}
		say("window", "%s: %s, %s", w.Name, w, state)
	}
	for _, l := range d.Limits {
		of := ""
		if key := p.KeyText(l); key != "" {
			of = " of " + key
		}
		say("limit", "%s: %s%s", p.Limits[l.Limit].Name, p.LimitText(l.Limit), of)
	}
	quotas, need := p.QuotasOf(f, nil)
	for ; need != nil; quotas, need = p.QuotasOf(f, nil) {
		if err := x.provide(f, need); err != nil {
			return err
		}
	}
	for _, k := range quotas {
		of := ""
		if key := p.QuotaKey(k); key != "" {
			of = " of " + key
		}
		say("quota", "%s: at most %d messages%s in the queue (postqueue -q -Q)", p.Quotas[k.Quota].Name, p.Quotas[k.Quota].Messages, of)
	}
	if send, expire := p.Times(f); send != "" || expire != "" {
		for _, t := range []struct{ what, text string }{{"send at", send}, {"expires at", expire}} {
			if t.text == "" {
				continue
			}
			if at, err := policy.ParseTime(t.text, time.Now().Add(-f.Age)); err != nil {
				say(t.what, "%v", err)
			} else {
				say(t.what, "%s", at.Local().Format(time.RFC1123Z))
			}
		}
	}
	return nil
}

// rule names a rule: its number, its place and its label.
func (x *explainer) rule(i int) string {
	r := &x.p.Rules[i]
	s := fmt.Sprintf("rule %d (%s)", i+1, r.Pos)
	if r.Name != "" {
		s += " " + fmt.Sprintf("%q", r.Name)
	}
	return s
}

// fails says which part of a condition does not hold, and what its facts are.
func (x *explainer) fails(when policy.Expr, f *policy.Facts) string {
	for _, t := range policy.Terms(when) {
		if holds, need := x.p.Holds(t, f); holds || need != nil {
			continue
		}
		var are []string
		for _, v := range x.p.Values(t, f) {
			if s := fmt.Sprintf("%s is %q", v.Name, v.Value); !strings.Contains(strings.Join(are, "\n"), s) {
				are = append(are, s)
			}
		}
		return x.p.Show(t) + " does not hold: " + strings.Join(are, ", ")
	}
	return "does not hold"
}

// facts shows what is known, the policy's own facts too.
func (x *explainer) facts(f *policy.Facts) []string {
	lines := f.Lines()
	tenant, campaign, _ := f.Tell()
	for _, own := range []string{"tenant=" + tenant, "campaign=" + campaign} {
		if !strings.HasSuffix(own, "=") {
			lines = append(lines, own)
		}
	}
	return lines
}

// provide finds out what a decision lacks.
func (x *explainer) provide(f *policy.Facts, need *policy.Need) error {
	if need.MX {
		f.MXGroup, f.MXKnown = x.group(f.NextHop), true
		return nil
	}
	for _, key := range need.Keys {
		v, found, err := x.tables[need.Table].Lookup(context.Background(), key)
		if err != nil {
			return fmt.Errorf("lookup %s: %w", x.p.Tables[need.Table], err)
		}
		if found {
			f.Answers = append(f.Answers, need.Answer(v, true))
			return nil
		}
	}
	f.Answers = append(f.Answers, need.Answer("", false))
	return nil
}

// group finds the mx_group of a next hop, by the system's name servers.
func (x *explainer) group(hop string) string {
	if g, ok := x.groups[hop]; ok {
		return g
	}
	host, _, _ := strings.Cut(strings.Trim(hop, "[]"), ":")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	hosts := []string{host}
	mxs, err := net.DefaultResolver.LookupMX(ctx, host)
	var none *net.DNSError
	switch {
	case strings.HasPrefix(hop, "["):
	case err == nil && len(mxs) > 0:
		hosts = nil
		for _, mx := range mxs {
			if mx.Pref == mxs[0].Pref {
				hosts = append(hosts, strings.ToLower(strings.TrimSuffix(mx.Host, ".")))
			}
		}
		sort.Strings(hosts)
	case errors.As(err, &none) && !none.IsNotFound:
		fmt.Fprintf(x.stderr, "postsched: warning: %v: mx_group is taken for empty (-f mx_group=NAME sets it)\n", err)
		hosts = nil
	}
	group := ""
	if len(hosts) > 0 && net.ParseIP(host) == nil {
		group = x.p.GroupOf(hosts, dns.Registered(hosts[0]))
	}
	if x.groups == nil {
		x.groups = map[string]string{}
	}
	x.groups[hop] = group
	return group
}
