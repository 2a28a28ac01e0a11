//go:build bench

package bench

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// lines counts lines of a growing file that have a text in them.
type lines struct {
	text []byte
	file *os.File
	rest []byte
	n    int
}

func countLines(t *testing.T, path, text string) *lines {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &lines{text: []byte(text), file: f}
}

func (l *lines) count() int {
	b, _ := io.ReadAll(l.file)
	b = append(l.rest, b...)
	end := bytes.LastIndexByte(b, '\n') + 1
	l.n += bytes.Count(b[:end], l.text)
	l.rest = bytes.Clone(b[end:])
	return l.n
}

var deferred = newTable("Destinations that are down", "messages/s until each is in the log as deferred, or, where a part is healthy, until all of that part have arrived.",
	"load", "system", "messages/s", "processor time", "by program")

// TestAllDown accepts mail for a destination that refuses connections.
func TestAllDown(t *testing.T) {
	l := load{name: "4 KB, 20 kept sessions, the destination is down", size: 4096, sessions: 20, kept: true, n: 16000, slow: 1000}
	closed := "[127.0.0.1]:" + freePort(t)
	type player struct {
		kind
		system
		log *lines
		res result
	}
	var players []*player
	for _, k := range kinds {
		if k.missing() {
			continue
		}
		p := &player{kind: k, system: k.start(t, setting{dir: scratch(t, *work), relay: closed})}
		p.res.cpu.byName = map[string]float64{}
		p.log = countLines(t, p.system.log(), "status=deferred")
		players = append(players, p)
	}
	ours := 0.0
	for range *rounds {
		for _, p := range players {
			n := l.messages(p.name)
			want := p.log.count() + n
			before, start := used(p.pid()), time.Now()
			l.source(t, p.addr(), n)
			await(t, "all deferred", func() bool { return p.log.count() >= want })
			p.res.rates = append(p.res.rates, float64(n)/time.Since(start).Seconds())
			p.res.add(used(p.pid()).minus(before), n)
		}
	}
	for _, p := range players {
		if got := p.queued(); got != p.res.messages {
			failures = append(failures, fmt.Sprintf("%s: %d accepted, %d in the queue", p.name, p.res.messages, got))
			t.Errorf("%s: %d accepted, %d in the queue", p.name, p.res.messages, got)
		}
		deferred.row(l.name, p.name, p.res.span(), number(p.res.cpu.total/float64(p.res.messages))+" µs", p.res.each())
		switch p.name {
		case "Postrider":
			ours = p.res.median()
		case "Postfix as shipped":
			x := ours / p.res.median()
			figure("every destination down, Postfix", "20 times", x, " times", x >= 20)
		}
		p.stop()
	}
}

// add adds what a round used.
func (r *result) add(u usage, n int) {
	if r.cpu.byName == nil {
		r.cpu.byName = map[string]float64{}
	}
	r.cpu.total += u.total
	for name, us := range u.byName {
		r.cpu.byName[name] += us
	}
	r.messages += n
}

// transports is a table that sends message k to destination k modulo count: an address
// of loopback of its own. Of three destinations in a row the last is at the port down,
// unless that is "".
func transports(messages, count int, port, down string) string {
	var b strings.Builder
	for k := range messages + 1 {
		d := k % count
		p := port
		if down != "" && d%3 == 2 {
			p = down
		}
		fmt.Fprintf(&b, "%dr@example.net smtp:[127.1.%d.%d]:%s\n", k, d/250, 1+d%250, p)
	}
	return b.String()
}

// TestDestinations sends to many destinations, all healthy, and then with a third of
// them down.
func TestDestinations(t *testing.T) {
	for _, count := range []int{100, 5000} {
		if count < 5000 && !*all {
			continue
		}
		c := &contest{load: load{name: fmt.Sprintf("4 KB, 20 kept sessions, %d destinations", count), size: 4096, sessions: 20, kept: true,
			numbered: true, n: 9999, slow: 1200}, kinds: kinds, spool: *work, host: "0.0.0.0"}
		c.table = func(port string) string { return transports(c.n, count, port, "") }
		c.play(t)
		c.enter(endToEnd)
		thirdDown(t, c, count)
	}
}

// thirdDown runs the contest's load again, a third of the destinations refusing.
func thirdDown(t *testing.T, c *contest, count int) {
	t.Helper()
	for _, k := range c.kinds {
		if k.missing() {
			continue
		}
		n := c.messages(k.name)
		healthy := 0
		for m := range n { // smtp-source counts from 1
			if (m+1)%count%3 != 2 {
				healthy++
			}
		}
		sink, closed := startCounter(t, "0.0.0.0"), freePort(t)
		dir := scratch(t, *work)
		s := k.start(t, setting{dir: dir, relay: sink.relay(), table: writeTable(t, dir, transports(n, count, sink.port, closed))})
		var r result
		log := countLines(t, s.log(), "status=deferred")
		for range *rounds {
			want, bad := sink.count()+healthy, log.count()+n-healthy
			before, start := used(s.pid()), time.Now()
			c.source(t, s.addr(), n)
			await(t, "the healthy mail", func() bool { return sink.count() >= want })
			r.rates = append(r.rates, float64(healthy)/time.Since(start).Seconds())
			await(t, "the rest deferred", func() bool { return log.count() >= bad })
			r.add(used(s.pid()).minus(before), n)
			if got := sink.count(); got != want {
				t.Errorf("%s: %d healthy messages too many", k.name, got-want)
			}
		}
		deferred.row(c.name+", a third down", k.name, r.span(), number(r.cpu.total/float64(r.messages))+" µs", r.each())
		if x := r.median() / c.of[k.name].median(); k.name == "Postrider" && count == 5000 {
			figure("a third of 5,000 destinations down: healthy mail's rate, of that with none down", "0.8", x, "", x >= 0.8)
		}
		s.stop()
	}
}
