//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var endToEnd = newTable("End to end", "smtp-source to smtp-sink, the spool on the machine's own file system unless the load says otherwise.", columns...)

// The loads that issue 5 has figures for.
var (
	kept20  = load{name: "4 KB, 20 kept sessions", size: 4096, sessions: 20, kept: true, n: 16000, slow: 1200}
	new20   = load{name: "4 KB, 20 sessions, a new connection each", size: 4096, sessions: 20, n: 8000, slow: 1000}
	large   = load{name: "64 KB, 20 kept sessions", size: 64 << 10, sessions: 20, kept: true, n: 4000, slow: 800}
	kept200 = load{name: "4 KB, 200 kept sessions", size: 4096, sessions: 200, kept: true, n: 16000, slow: 1200}
	many50  = load{name: "4 KB, 50 recipients, 20 kept sessions", size: 4096, sessions: 20, kept: true, recipients: 50, n: 2000, slow: 200}
)

// contest20 is kept for comparisons with it.
var contest20 *contest

func compare(t *testing.T, l load, spool string) *contest {
	t.Helper()
	c := &contest{load: l, kinds: kinds, spool: spool}
	c.play(t)
	c.enter(endToEnd)
	return c
}

func TestKept20(t *testing.T) {
	c := compare(t, kept20, *work)
	contest20 = c
	figure("4 KB, 20 kept sessions, of the floor", "0.42", c.toFloor(), "", c.toFloor() >= 0.42)
	beside(c, "4 KB, 20 kept sessions, Postfix as shipped", "Postfix as shipped", 10)
	r := c.of["Postrider"]
	for name, limit := range map[string]float64{"smtpd": 95, "cleanup": 35, "qmgr": 30, "smtp": 55} {
		us := r.cpu.byName[name] / float64(r.messages)
		figure("processor time a message, "+name, fmt.Sprintf("%.0f µs", limit), us, " µs", us <= limit)
	}
}

// beside enters a ratio to another system, if that is there.
func beside(c *contest, what, other string, least float64) {
	if x := c.ratio(other); x > 0 {
		figure(what, fmt.Sprintf("%g times", least), x, " times", x >= least)
	}
}

func TestNew20(t *testing.T) {
	c := compare(t, new20, *work)
	figure("new connection for each, of the floor", "0.45", c.toFloor(), "", c.toFloor() >= 0.45)
	beside(c, "new connection for each, Postfix", "Postfix as shipped", 6)
}

func TestLarge(t *testing.T) {
	c := compare(t, large, *work)
	figure("64 KB, of the floor", "0.6", c.toFloor(), "", c.toFloor() >= 0.6)
	beside(c, "64 KB, Postfix", "Postfix as shipped", 5)
}

func TestKept200(t *testing.T) {
	c := compare(t, kept200, *work)
	if contest20 != nil {
		x := c.of["Postrider"].median() / contest20.of["Postrider"].median()
		figure("200 sessions, to 20 sessions", "more than 1", x, " times", x > 1)
	}
}

func TestRecipients50(t *testing.T) {
	c := compare(t, many50, *work)
	beside(c, "50 recipients at one destination, in recipients/s, Postfix", "Postfix as shipped", 5)
}

// TestFileSystems runs the headline on XFS, in a file of the machine's own file system,
// and in memory.
func TestFileSystems(t *testing.T) {
	root(t)
	t.Run("xfs", func(t *testing.T) {
		l := kept20
		l.name += ", XFS"
		c := compare(t, l, xfs(t))
		beside(c, "4 KB, 20 kept sessions, XFS, tuned Postfix", "Postfix tuned", 7)
	})
	t.Run("memory", func(t *testing.T) {
		l := kept20
		l.name += ", spool in memory"
		c := compare(t, l, inMemory(t))
		if p := c.of["Postfix tuned"]; p != nil && contest20 != nil {
			x := contest20.of["Postrider"].median() / p.median()
			figure("4 KB, 20 kept sessions, ours on disk, tuned Postfix in memory", "5 times", x, " times", x >= 5)
		}
	})
}

// TestOtherLoads is the rest of the matrix.
func TestOtherLoads(t *testing.T) {
	full(t)
	for _, l := range []load{
		{name: "1 KB, 20 kept sessions", size: 1024, sessions: 20, kept: true, n: 16000, slow: 1200},
		{name: "1 MB, 20 kept sessions", size: 1 << 20, sessions: 20, kept: true, n: 300, slow: 200},
		{name: "4 KB, 1 kept session", size: 4096, sessions: 1, kept: true, n: 3000, slow: 500},
		{name: "4 KB, 1 session, a new connection each", size: 4096, sessions: 1, n: 2000, slow: 400},
		{name: "4 KB, 200 sessions, a new connection each", size: 4096, sessions: 200, n: 8000, slow: 1000},
		{name: "4 KB, 5 recipients, 20 kept sessions", size: 4096, sessions: 20, kept: true, recipients: 5, n: 8000, slow: 800},
		{name: "64 KB, 20 sessions, a new connection each", size: 64 << 10, sessions: 20, n: 4000, slow: 800},
	} {
		t.Run(strings.ReplaceAll(l.name, " ", "_"), func(t *testing.T) { compare(t, l, *work) })
	}
}

// writeTable writes a transport table that every system reads.
func writeTable(t *testing.T, dir, text string) string {
	t.Helper()
	name := filepath.Join(dir, "transport")
	if err := os.WriteFile(name, []byte(text), 0644); err != nil {
		t.Fatal(err)
	}
	return name
}
