package mailq

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"postrider/lib/mail"
	"postrider/lib/proto"
)

// Census counts mail by domain and age for a Shape. Its memory is bounded: with more
// than a hundred thousand domains the smaller half of them is put together in one row,
// and again whenever there are as many.
type Census struct {
	ask    proto.Shape
	now    time.Time
	total  []uint64
	others []uint64
	rows   map[string][]uint64
	lower  []byte
}

// Rows that a Census names besides the domains. TOTAL is Postfix's.
const (
	censusTotal  = "TOTAL"
	censusOthers = "(others)"
	censusMax    = 100_000
)

// NewCensus counts as s asks, ages being those at now.
func NewCensus(s proto.Shape, now time.Time) *Census {
	n := int(s.Buckets) + 1
	return &Census{ask: s, now: now, total: make([]uint64, n), others: make([]uint64, n), rows: map[string][]uint64{}}
}

// Sender says whether senders are counted, one for each message.
func (c *Census) Sender() bool { return c.ask.Sender }

// Add counts n recipients, or senders, of the address's domain.
func (c *Census) Add(a mail.Address, arrival time.Time, n uint64) {
	b := c.bucket(arrival)
	row := c.row(a)
	c.total[0] += n
	c.total[b] += n
	row[0] += n
	row[b] += n
}

// Class says whether recipients are counted by their virtual queues.
func (c *Census) Class() bool { return c.ask.Class }

// AddTo counts n recipients in a row of its own name.
func (c *Census) AddTo(name string, arrival time.Time, n uint64) {
	row := c.rows[name]
	if row == nil {
		row = make([]uint64, len(c.total))
		c.rows[name] = row
	}
	b := c.bucket(arrival)
	c.total[0] += n
	c.total[b] += n
	row[0] += n
	row[b] += n
}

// row finds the row of an address's domain. Only a new domain costs memory.
func (c *Census) row(a mail.Address) []uint64 {
	domain := "MAILER-DAEMON"
	if a != "" {
		domain = string(a[strings.LastIndexByte(string(a), '@')+1:])
	}
	c.lower = append(c.lower[:0], domain...)
	if a != "" {
		for i, x := range c.lower {
			if 'A' <= x && x <= 'Z' {
				c.lower[i] = x + 'a' - 'A'
			}
		}
	}
	if row := c.rows[string(c.lower)]; row != nil {
		return row
	}
	if len(c.rows) == censusMax {
		c.shrink()
	}
	row := make([]uint64, len(c.total))
	c.rows[string(c.lower)] = row
	return row
}

// bucket is qshape's: the first up to a tick, each further one twice as far, the last
// without end.
func (c *Census) bucket(arrival time.Time) int {
	m := int64(c.now.Sub(arrival) / (time.Duration(c.ask.Tick) * time.Minute))
	b := int64(1)
	switch {
	case m < 1:
	case c.ask.Linear:
		b = m + 1
	default:
		b = 1 + int64(bits.Len64(uint64(m)))
	}
	return int(min(b, int64(c.ask.Buckets)))
}

// shrink puts the smaller half of the domains together.
func (c *Census) shrink() {
	sizes := make([]uint64, 0, len(c.rows))
	for _, r := range c.rows {
		sizes = append(sizes, r[0])
	}
	slices.Sort(sizes)
	limit, drop := sizes[len(sizes)/2], len(sizes)/2
	for d, r := range c.rows {
		if r[0] <= limit && drop > 0 {
			for i := range r {
				c.others[i] += r[i]
			}
			delete(c.rows, d)
			drop--
		}
	}
}

// Rows returns the total, then the domains with most first, at most as many as were
// asked for.
func (c *Census) Rows() proto.ShapeRows {
	rows := make(proto.ShapeRows, 0, len(c.rows)+2)
	for d, r := range c.rows {
		rows = append(rows, proto.ShapeRow{Domain: d, Counts: r})
	}
	if c.others[0] > 0 {
		rows = append(rows, proto.ShapeRow{Domain: censusOthers, Counts: c.others})
	}
	slices.SortFunc(rows, func(a, b proto.ShapeRow) int {
		return cmp.Or(cmp.Compare(b.Counts[0], a.Counts[0]), cmp.Compare(len(a.Domain), len(b.Domain)), cmp.Compare(a.Domain, b.Domain))
	})
	rows = slices.Insert(rows, 0, proto.ShapeRow{Domain: censusTotal, Counts: c.total})
	if top := int(c.ask.Top); top > 0 && len(rows) > top+1 {
		rows = rows[:top+1]
	}
	return rows
}

// WriteShape writes Postfix's table: right justified within width columns, at least 80.
func WriteShape(w io.Writer, s *proto.Shape, rows proto.ShapeRows, width int) error {
	out := bufio.NewWriter(w)
	heads := []string{"T"}
	for i, t := 1, uint64(0); i <= int(s.Buckets); i++ {
		switch {
		case i == int(s.Buckets):
			heads = append(heads, strconv.FormatUint(t, 10)+"+")
			continue
		case t == 0 || s.Linear:
			t += uint64(s.Tick)
		default:
			t += t
		}
		heads = append(heads, strconv.FormatUint(t, 10))
	}
	widths := make([]int, len(heads))
	left := max(width, 80)
	for i, h := range heads {
		n := len(h)
		if len(rows) > 0 {
			n = max(n, len(strconv.FormatUint(rows[0].Counts[i], 10)))
		}
		widths[i] = max(n+1, 3)
		left -= widths[i]
	}
	left = max(left, 18)
	line := func(domain string, cells []string) {
		if len(domain) > left {
			domain = "+" + domain[len(domain)-left+1:]
		}
		fmt.Fprintf(out, "%*s", left, domain)
		for i, c := range cells {
			fmt.Fprintf(out, "%*s", widths[i], c)
		}
		fmt.Fprintln(out)
	}
	line("", heads)
	cells := make([]string, len(heads))
	for i := range rows {
		for k, n := range rows[i].Counts {
			cells[k] = strconv.FormatUint(n, 10)
		}
		line(printable(rows[i].Domain), cells)
	}
	return out.Flush()
}

// WriteQuotas writes how much of each quota of sched.cf is used, a line each.
func WriteQuotas(w io.Writer, rows proto.ShapeRows) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%9s %9s  %s\n", "messages", "of", "quota")
	for _, r := range rows {
		if len(r.Counts) == 2 {
			fmt.Fprintf(out, "%9d %9d  %s\n", r.Counts[0], r.Counts[1], printable(r.Domain))
		}
	}
	return out.Flush()
}
