package schedcf

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"postrider/lib/policy"
)

// blocks reads all that have a name.
func (r *reader) blocks() {
	read := map[string]func(*block, declaration){
		"queue": r.queue, "schedule": r.schedule, "source": r.source, "pool": r.pool, "limit": r.limit,
		"window": r.window, "route": r.route, "quota": r.quota, "provider": r.provider,
	}
	for _, kind := range named {
		for _, d := range r.declared[kind] {
			read[kind](r.block(d.block), d)
		}
	}
}

// countMax is how large any count may be.
const countMax = 1_000_000_000

func (r *reader) queue(b *block, d declaration) {
	q := &r.p.Queues[d.index]
	*q = policy.Queue{Name: d.name, Weight: 1, Share: -1, Level: cmp.Or(b.level("priority"), policy.Normal)}
	if n, ok := b.number("slots", 1, countMax); ok {
		q.Slots = n
	}
	if n, ok := b.number("weight", 1, 1000); ok {
		q.Weight = n
	}
	if n, ok := b.percent("share"); ok {
		q.Share = n
	}
	b.done()
}

func (r *reader) source(b *block, d declaration) {
	s := &r.p.Sources[d.index]
	*s = policy.Source{Name: d.name}
	list, at, _ := b.texts("address")
	for i, text := range list {
		a, err := netip.ParseAddr(strings.Trim(text, "[]"))
		switch {
		case err != nil:
			b.errorf(at[i], "address: %q is no IP address", text)
		case slices.ContainsFunc(s.Addresses, func(x netip.Addr) bool { return x.Is4() == a.Unmap().Is4() }):
			b.errorf(at[i], "address: a source has one IPv4 and one IPv6 address at most; declare another source and put both into a pool")
		default:
			s.Addresses = append(s.Addresses, a.Unmap())
		}
	}
	ehlo, where := b.text("ehlo")
	if s.EHLO = ehlo; strings.ContainsAny(ehlo, " \t\r\n<>\"") {
		b.errorf(where, "ehlo: %q is no host name", ehlo)
	}
	if n, ok := b.number("connections", 1, countMax); ok {
		s.Connections = n
	}
	b.done()
}

func (r *reader) pool(b *block, d declaration) {
	p := &r.p.Pools[d.index]
	*p = policy.Pool{Name: d.name}
	a := b.attr("sources")
	b.done()
	if a == nil {
		b.errorf(b.at, "pool %q needs sources = { NAME = WEIGHT, ... }", d.name)
		return
	}
	add := func(name string, weight int, at hcl.Range) {
		p.Members = append(p.Members, policy.Member{Source: r.find("source", name, at), Weight: weight})
	}
	if list, is := a.Expr.(*hclsyntax.TupleConsExpr); is {
		for _, e := range list.Exprs {
			if v, ok := b.constant(e); ok && v.Type() == cty.String {
				add(v.AsString(), 1, e.Range())
			} else if ok {
				b.errorf(e.Range(), "sources: write names in quotes")
			}
		}
	} else if object, is := a.Expr.(*hclsyntax.ObjectConsExpr); is {
		for _, item := range object.Items {
			key, ok := b.constant(item.KeyExpr)
			v, ok2 := b.constant(item.ValueExpr)
			if !ok || !ok2 {
				continue
			}
			weight, exact := int64(0), 0
			if v.Type() == cty.Number {
				w, accuracy := v.AsBigFloat().Int64()
				weight, exact = w, int(accuracy)
			}
			if key.Type() != cty.String || exact != 0 || weight < 1 || weight > 1000 {
				b.errorf(item.ValueExpr.Range(), "sources: write NAME = WEIGHT, a whole number from 1 to 1000")
				continue
			}
			add(key.AsString(), int(weight), item.KeyExpr.Range())
		}
	} else {
		b.errorf(a.Expr.Range(), "sources: write { NAME = WEIGHT, ... } or a list of names")
	}
	if len(p.Members) == 0 {
		b.errorf(a.Expr.Range(), "pool %q has no source", d.name)
	}
	slices.SortStableFunc(p.Members, func(x, y policy.Member) int { return x.Source - y.Source })
	for i := 1; i < len(p.Members); i++ {
		if p.Members[i].Source == p.Members[i-1].Source {
			b.errorf(a.Expr.Range(), "source %q is in the pool twice", r.p.Sources[p.Members[i].Source].Name)
		}
	}
}

func (r *reader) limit(b *block, d declaration) {
	l := &r.p.Limits[d.index]
	*l = policy.Limit{Name: d.name}
	l.Keys, l.PerSource = b.keys("key", policy.FactInfo{})
	l.When = b.condition("when")
	texts, at, _ := b.texts("rate")
	burst, _ := b.number("burst", 1, countMax)
	for i, s := range texts {
		rate, err := policy.ParseRate(s)
		if err != nil {
			b.errorf(at[i], "rate: %v", err)
			continue
		}
		rate.Burst = int64(max(burst, 1))
		l.Rates = append(l.Rates, rate)
	}
	l.Connections, _ = b.number("connections", 1, countMax)
	b.done()
	if len(texts) == 0 && l.Connections == 0 {
		b.errorf(b.at, "limit %q limits nothing: write rate, connections or both", d.name)
	}
	if burst > 0 && len(texts) == 0 {
		b.errorf(b.at, "limit %q: burst belongs to a rate", d.name)
	}
}

func (r *reader) quota(b *block, d declaration) {
	q := &r.p.Quotas[d.index]
	*q = policy.Quota{Name: d.name}
	q.Keys, _ = b.keys("key", policy.FactInfo{Early: true})
	q.When = b.condition("when")
	r.early(b.body.Attributes["when"], q.When)
	n, has := b.number("messages", 1, countMax)
	if q.Messages = int64(n); !has && b.body.Attributes["messages"] == nil {
		b.errorf(b.at, "quota %q needs messages: how many may be in the queue", d.name)
	}
	b.done()
}

func (r *reader) provider(b *block, d declaration) {
	v := &r.p.Providers[d.index]
	*v = policy.Provider{Name: strings.ToLower(d.name)}
	list, at, _ := b.texts("mx")
	for i, s := range list {
		if s = strings.ToLower(strings.Trim(s, ".*")); s == "" {
			b.errorf(at[i], "mx: write the domain of the provider's mail hosts")
			continue
		}
		v.MX = append(v.MX, s)
	}
	if len(list) == 0 {
		b.errorf(b.at, "provider %q needs mx: the domains of its mail hosts", d.name)
	}
	b.done()
}

// days in the order of time.Weekday.
var days = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (r *reader) window(b *block, d declaration) {
	w := &r.p.Windows[d.index]
	*w = policy.Window{Name: d.name}
	list, at, hasDays := b.texts("days")
	for i, s := range list {
		from, to, isRange := strings.Cut(strings.ToLower(s), "-")
		if !isRange {
			to = from
		}
		first, last := weekday(from), weekday(to)
		if first < 0 || last < 0 {
			b.errorf(at[i], "days: %q is no day; write \"mon\", \"sat\" or \"mon-fri\"", s)
			continue
		}
		for k := first; ; k = (k + 1) % 7 {
			if w.Days |= 1 << k; k == last {
				break
			}
		}
	}
	hours, where, hasHours := b.texts("hours")
	for i, s := range hours {
		from, to, ok := strings.Cut(s, "-")
		x, okFrom := clock(from)
		y, okTo := clock(to)
		if !ok || !okFrom || !okTo || x == y || x == 1440 {
			b.errorf(where[i], "hours: write \"08:00-18:00\", or \"22:00-06:00\" over midnight, not %q", s)
			continue
		}
		w.Hours = append(w.Hours, policy.Hours{From: x, To: y})
	}
	if !hasDays && !hasHours {
		b.errorf(b.at, "window %q is always open: write days, hours or both", d.name)
	}
	zone, zoneAt := b.text("zone")
	if w.Zone = zone; zone != "" && zone != "UTC" {
		data, err := r.Zone(zone)
		if err == nil {
			_, err = time.LoadLocationFromTZData(zone, data)
		}
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("there is no time zone %q on this machine", zone)
			}
			b.errorf(zoneAt, "zone: %v; write a name such as \"Europe/Vienna\"", err)
			w.Zone = ""
		}
		w.ZoneData = data
	}
	b.done()
}

func weekday(s string) int {
	if s = strings.TrimSpace(s); len(s) > 3 {
		for i, full := range []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"} {
			if s == full {
				return i
			}
		}
	}
	return slices.Index(days, s)
}

// clock reads "08:00", as minutes since midnight.
func clock(s string) (int, bool) {
	h, m, ok := strings.Cut(strings.TrimSpace(s), ":")
	x, err := strconv.Atoi(h)
	y, err2 := strconv.Atoi(m)
	return x*60 + y, ok && err == nil && err2 == nil && x >= 0 && y >= 0 && y < 60 && x*60+y <= 1440
}

// systemZone reads the system's time zone database.
func systemZone(name string) ([]byte, error) {
	if !filepath.IsLocal(name) {
		return nil, os.ErrInvalid
	}
	var err error
	var b []byte
	for _, dir := range []string{"/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"} {
		if b, err = os.ReadFile(filepath.Join(dir, name)); err == nil {
			return b, nil
		}
	}
	return nil, err
}
