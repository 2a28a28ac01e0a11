package mailq

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"postrider/lib/mail"
	"postrider/lib/proto"
)

var stockShape = proto.Shape{Buckets: 10, Tick: 5}

// Ages fall into qshape's buckets, geometric or linear.
func TestCensusBuckets(t *testing.T) {
	now := time.Unix(1e9, 0)
	linear := stockShape
	linear.Linear = true
	for age, want := range map[time.Duration][2]int{0: {1, 1}, 299 * time.Second: {1, 1}, 5 * time.Minute: {2, 2}, 10 * time.Minute: {3, 3},
		19 * time.Minute: {3, 4}, 20 * time.Minute: {4, 5}, 639 * time.Minute: {8, 10}, 640 * time.Minute: {9, 10}, 1280 * time.Minute: {10, 10}, 9999 * time.Hour: {10, 10}, -time.Hour: {1, 1}} {
		if got := [2]int{NewCensus(stockShape, now).bucket(now.Add(-age)), NewCensus(linear, now).bucket(now.Add(-age))}; got != want {
			t.Errorf("%v old: buckets %v, want %v", age, got, want)
		}
	}
}

// However many domains there are, memory is bounded, the largest are told exactly and
// nothing is missing in the sum.
func TestCensusBound(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := NewCensus(stockShape, now)
	for n := range 3 * censusMax {
		c.Add(mail.Address(fmt.Sprintf("x@d%d.test", n)), now, 1)
		if n%2 == 0 {
			c.Add("x@Big.test", now.Add(-time.Hour), 1)
		}
		if len(c.rows) > censusMax {
			t.Fatalf("%d rows", len(c.rows))
		}
	}
	rows := c.Rows()
	sum := uint64(0)
	for _, r := range rows[1:] {
		sum += r.Counts[0]
	}
	if rows[0].Domain != "TOTAL" || rows[0].Counts[0] != 4.5*censusMax || sum != rows[0].Counts[0] {
		t.Errorf("%v, sum %d", rows[0], sum)
	}
	for _, r := range rows[1:3] {
		if r.Domain == "big.test" && r.Counts[0] != 1.5*censusMax || r.Domain != "big.test" && r.Domain != censusOthers {
			t.Errorf("%v", r)
		}
	}
	var b bytes.Buffer
	WriteShape(&b, &stockShape, append(rows[:2:2], proto.ShapeRow{Domain: strings.Repeat("long.", 20) + "test", Counts: make([]uint64, 11)}), 80)
	for line := range strings.Lines(b.String()) {
		if len(line) != 81 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
}

func BenchmarkCensus(b *testing.B) {
	now := time.Unix(1e9, 0)
	c := NewCensus(stockShape, now)
	addrs := make([]mail.Address, 5000)
	for i := range addrs {
		addrs[i] = mail.Address(fmt.Sprintf("someone@domain%d.example", i))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Add(addrs[i%len(addrs)], now, 1)
	}
}
