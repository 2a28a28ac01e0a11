package policy

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
	"time"
)

// The binary form: the magic, a version, a CRC-32C of the rest, the rest. One function for
// each type, code, both writes and reads it, so that the two cannot differ.

const (
	magic   = "PRPOLICY"
	version = 1
	// EncodedMax is how large a binary form may be, bytes: some 50,000 rules, and what package daemon reads.
	EncodedMax = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode returns the binary form of p.
func (p *Policy) Encode() []byte {
	c := coder{writing: true, b: append([]byte(magic), version, 0, 0, 0, 0)}
	c.policy(p)
	binary.LittleEndian.PutUint32(c.b[len(magic)+1:], crc32.Checksum(c.b[len(magic)+5:], castagnoli))
	return c.b
}

// Decode reads the binary form and checks it. An error is of kind ErrPolicy.
func Decode(b []byte) (*Policy, error) {
	head := len(magic) + 5
	switch {
	case len(b) < head || string(b[:len(magic)]) != magic:
		return nil, fmt.Errorf("%w: no compiled policy", ErrPolicy)
	case len(b) > EncodedMax:
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrPolicy, EncodedMax)
	case b[len(magic)] != version:
		return nil, fmt.Errorf("%w: version %d, this program reads %d", ErrPolicy, b[len(magic)], version)
	case crc32.Checksum(b[head:], castagnoli) != binary.LittleEndian.Uint32(b[len(magic)+1:]):
		return nil, fmt.Errorf("%w: damaged", ErrPolicy)
	}
	c, p := coder{b: b[head:]}, &Policy{}
	c.policy(p)
	if c.bad || len(c.b) > 0 {
		return nil, fmt.Errorf("%w: malformed", ErrPolicy)
	}
	return p, p.Check()
}

// Sum tells one binary form from another; 0 is none.
func Sum(encoded []byte) uint64 {
	if len(encoded) == 0 {
		return 0
	}
	return uint64(crc32.Checksum(encoded, castagnoli)) + 1
}

// coder appends values to b, or takes them from it.
type coder struct {
	writing, bad bool
	b            []byte
}

// integer is a varint.
func integer[T ~int | ~int64 | ~uint8 | ~uint16 | ~uint64](c *coder, v *T) {
	if c.writing {
		c.b = binary.AppendVarint(c.b, int64(*v))
		return
	}
	x, n := binary.Varint(c.b)
	if n <= 0 || int64(T(x)) != x {
		c.bad, c.b = true, nil
		return
	}
	*v, c.b = T(x), c.b[n:]
}

func (c *coder) bool(v *bool) {
	n := 0
	if *v {
		n = 1
	}
	integer(c, &n)
	*v = n != 0
}

// text is its length, then its bytes.
func text[T ~string | ~[]byte](c *coder, v *T) {
	n := len(*v)
	integer(c, &n)
	if c.writing {
		c.b = append(c.b, *v...)
		return
	}
	if c.bad || n < 0 || n > len(c.b) {
		c.bad, c.b = true, nil
		return
	}
	if n > 0 {
		*v = T(append([]byte(nil), c.b[:n]...))
	}
	c.b = c.b[n:]
}

// list is its length, then what each gives. No element takes less than a byte, so that a
// length cannot ask for more memory than some times the input.
func list[T any](c *coder, v *[]T, each func(*coder, *T)) {
	n := len(*v)
	integer(c, &n)
	if !c.writing {
		if c.bad || n < 0 || n > len(c.b) {
			c.bad, c.b = true, nil
			return
		}
		if n > 0 {
			*v = make([]T, 0, min(n, 1024))
		}
		for range n {
			var x T
			if each(c, &x); c.bad {
				return
			}
			*v = append(*v, x)
		}
		return
	}
	for i := range *v {
		each(c, &(*v)[i])
	}
}

func (c *coder) duration(v *time.Duration) { integer(c, (*int64)(v)) }

func (c *coder) addr(v *netip.Addr) {
	s := ""
	if v.IsValid() {
		s = v.String()
	}
	text(c, &s)
	if !c.writing && s != "" {
		var err error
		if *v, err = netip.ParseAddr(s); err != nil {
			c.bad = true
		}
	}
}

func (c *coder) expr(v *Expr) {
	list(c, (*[]Node)(v), func(c *coder, n *Node) {
		integer(c, &n.Op)
		integer(c, &n.Num)
		text(c, &n.Str)
		list(c, &n.Set, text[string])
		list(c, &n.Args, integer[uint16])
	})
}

func (c *coder) policy(p *Policy) {
	list(c, &p.Queues, (*coder).queue)
	list(c, &p.Schedules, (*coder).schedule)
	list(c, &p.Sources, (*coder).source)
	list(c, &p.Pools, func(c *coder, p *Pool) {
		text(c, &p.Name)
		list(c, &p.Members, func(c *coder, m *Member) { integer(c, &m.Source); integer(c, &m.Weight) })
	})
	list(c, &p.Routes, (*coder).route)
	list(c, &p.Windows, (*coder).window)
	list(c, &p.Limits, (*coder).limit)
	list(c, &p.Quotas, func(c *coder, q *Quota) {
		text(c, &q.Name)
		list(c, &q.Keys, (*coder).expr)
		c.expr(&q.When)
		integer(c, &q.Messages)
	})
	list(c, &p.Providers, func(c *coder, v *Provider) { text(c, &v.Name); list(c, &v.MX, text[string]) })
	list(c, &p.Rules, (*coder).rule)
	c.bool(&p.Priorities)
	c.duration(&p.Aging)
	for _, e := range []*Expr{&p.Tenant, &p.Campaign, &p.SendAt, &p.ExpireAt, &p.Priority} {
		c.expr(e)
	}
	for _, s := range []*[]string{&p.Headers, &p.Tables, &p.Patterns, &p.Prefixes} {
		list(c, s, text[string])
	}
}

func (c *coder) queue(q *Queue) {
	text(c, &q.Name)
	integer(c, &q.Slots)
	integer(c, &q.Level)
	integer(c, &q.Weight)
	integer(c, &q.Share)
}

func (c *coder) schedule(s *Schedule) {
	text(c, &s.Name)
	list(c, &s.Retry, (*coder).duration)
	c.duration(&s.Interval)
	c.duration(&s.MaxInterval)
	list(c, &s.Tiers, func(c *coder, t *Tier) { text(c, &t.Name); integer(c, &t.After); c.duration(&t.Every) })
	integer(c, &s.Jitter)
	list(c, &s.Notify, (*coder).duration)
	c.bool(&s.NoNotify)
	c.duration(&s.Expire)
	integer(c, &s.MaxAttempts)
	integer(c, &s.Window)
}

func (c *coder) source(s *Source) {
	text(c, &s.Name)
	list(c, &s.Addresses, (*coder).addr)
	text(c, &s.EHLO)
	integer(c, &s.Connections)
}

func (c *coder) route(r *Route) {
	text(c, &r.Name)
	integer(c, &r.Kind)
	c.bool(&r.LMTP)
	text(c, &r.Transport)
	list(c, &r.Hops, func(c *coder, h *Hop) { text(c, &h.Name); c.addr(&h.Addr); integer(c, &h.Port); text(c, &h.Path) })
	text(c, &r.Path)
	integer(c, &r.Status.Class)
	text(c, &r.Status.DSN)
	text(c, &r.Status.Text)
	integer(c, &r.Connections)
}

func (c *coder) window(w *Window) {
	text(c, &w.Name)
	integer(c, &w.Days)
	list(c, &w.Hours, func(c *coder, h *Hours) { integer(c, &h.From); integer(c, &h.To) })
	text(c, &w.Zone)
	text(c, &w.ZoneData)
}

func (c *coder) limit(l *Limit) {
	text(c, &l.Name)
	list(c, &l.Keys, (*coder).expr)
	c.bool(&l.PerSource)
	c.expr(&l.When)
	list(c, &l.Rates, func(c *coder, r *Rate) { integer(c, &r.Count); c.duration(&r.Per); integer(c, &r.Burst) })
	integer(c, &l.Connections)
}

func (c *coder) rule(r *Rule) {
	text(c, &r.Name)
	text(c, &r.Pos)
	c.expr(&r.When)
	text(c, &r.Text)
	for _, i := range []*int{&r.Queue, &r.Schedule, &r.Pool, &r.Route, &r.Window} {
		integer(c, i)
	}
	integer(c, &r.Level)
}
