//go:build bench

package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postrider/test/sink"
)

// result is what the rounds of one load on one system gave.
type result struct {
	rates    []float64
	accepted []float64 // rates, too: until the last reply to smtp-source
	cpu      usage     // of all rounds
	messages int
	p50, p99 float64
	memory   float64
	syncs    float64 // a message
}

func (r *result) median() float64 { return median(r.rates) }

func median(of []float64) float64 {
	s := slices.Sorted(slices.Values(of))
	return s[len(s)/2]
}

// ran adds a round.
func (r *result) ran(perSecond, accepted float64) {
	r.rates = append(r.rates, perSecond)
	r.accepted = append(r.accepted, accepted)
}

// span is the median with the range.
func (r *result) span() string {
	return fmt.Sprintf("%s (%s to %s)", number(r.median()), number(slices.Min(r.rates)), number(slices.Max(r.rates)))
}

// each is the processor time of a message by program, those of at least a microsecond.
func (r *result) each() string {
	type share struct {
		name string
		us   float64
	}
	var all []share
	for name, us := range r.cpu.byName {
		if us /= float64(r.messages); us >= 1 {
			all = append(all, share{name, us})
		}
	}
	slices.SortFunc(all, func(a, b share) int { return int(b.us - a.us) })
	var words []string
	for _, s := range all {
		words = append(words, s.name+" "+number(s.us))
	}
	return strings.Join(words, ", ")
}

// contest is one load run on several systems in turns.
type contest struct {
	load
	kinds []kind
	floor result
	of    map[string]*result
	spool string                   // where spools are
	lines []string                 // of main.cf
	table func(port string) string // the transport table's text, for a sink's port
	host  string                   // the sink's
}

// play runs the rounds: the floor, then each system, then again; and before that each
// system once under the ledger.
func (c *contest) play(t *testing.T) {
	t.Helper()
	needTool(t, "smtp-source")
	c.of = map[string]*result{}
	floor := startCounter(t)
	type player struct {
		kind
		system
		sink *counter
		end  func() float64
	}
	var players []player
	for _, k := range c.kinds {
		if k.missing() {
			continue
		}
		c.of[k.name] = &result{}
		c.checked(t, k)
		s := startCounter(t, c.host)
		players = append(players, player{kind: k, sink: s, system: k.start(t, c.setting(t, s.relay(), s.port))})
	}
	for k := range players {
		p := &players[k]
		c.run(t, p.addr(), p.sink, min(200, c.messages(p.name))) // warm
		p.end = peak(p.pid())
	}
	for range *rounds {
		c.floor.ran(c.run(t, floor.addr(), floor, c.n))
		for _, p := range players {
			n := c.messages(p.name)
			r := c.of[p.name]
			before := used(p.pid())
			r.ran(c.run(t, p.addr(), p.sink, n))
			r.add(used(p.pid()).minus(before), n)
		}
	}
	for _, p := range players {
		c.of[p.name].memory = p.end()
		p.stop()
	}
}

func (c *contest) setting(t *testing.T, relay, port string) setting {
	s := setting{dir: scratch(t, c.spool), relay: relay, lines: c.lines}
	if c.table != nil {
		s.table = writeTable(t, s.dir, c.table(port))
	}
	return s
}

// checked runs the load once under the ledger, on a system of its own.
func (c *contest) checked(t *testing.T, k kind) {
	t.Helper()
	host := c.host
	if host == "" {
		host = "127.0.0.1"
	}
	port := freePort(t)
	s := sink.At(t, host+":"+port, nil)
	x := k.start(t, c.setting(t, "[127.0.0.1]:"+port, port))
	n := max(100, c.messages(k.name)/5)
	c.ledgered(t, x.addr(), s, min(100, n), 0)
	end := countSyncs(t, x.pid())
	d := c.ledgered(t, x.addr(), s, n, 0)
	r := c.of[k.name]
	r.syncs = end() / float64(n)
	r.p50, r.p99 = d.quantiles()
	x.stop()
}

// columns are those of a contest's rows.
var columns = []string{"load", "system", "messages/s", "accepted/s", "of the floor", "times shipped", "times tuned", "processor time", "by program", "latency 50 %", "99 %", "memory", "syncs"}

// enter writes the rows.
func (c *contest) enter(into *table) {
	into.row(c.name, "floor", c.floor.span(), "", "", "", "", "", "", "", "", "", "")
	for _, k := range c.kinds {
		r := c.of[k.name]
		if r == nil {
			continue
		}
		syncs := "-"
		if r.syncs >= 0 {
			syncs = number(r.syncs)
		}
		into.row(c.name, k.name, r.span(), median(r.accepted), r.median()/c.floor.median(), c.times(r, "Postfix as shipped"), c.times(r, "Postfix tuned"),
			number(r.cpu.total/float64(r.messages))+" µs", r.each(), number(r.p50)+" ms", number(r.p99)+" ms", number(r.memory)+" MB", syncs)
	}
}

// times is the ratio to another system, or "".
func (c *contest) times(r *result, other string) string {
	if o := c.of[other]; o != nil && o != r {
		return number(r.median() / o.median())
	}
	return ""
}

// ratio is ours to another system's, 0 if that was not there.
func (c *contest) ratio(other string) float64 {
	if o := c.of[other]; o != nil {
		return c.of["Postrider"].median() / o.median()
	}
	return 0
}

func (c *contest) toFloor() float64 { return c.of["Postrider"].median() / c.floor.median() }
