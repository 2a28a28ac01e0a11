package hostile

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
)

// effort is how long each attack lasts, how often it comes, and whether the time that a
// message takes is judged.
func effort() (round time.Duration, rounds int, judge bool) {
	if os.Getenv("POSTRIDER_HOSTILE") != "" {
		return 3 * time.Second, 5, true
	}
	return 300 * time.Millisecond, 1, false
}

// All that a user does to the public sockets and to maildrop/ leaves mail flowing, and
// the daemons within their bounds.
func TestAttacks(t *testing.T) {
	round, rounds, judge := effort()
	if !judge {
		t.Parallel()
	}
	l := new(ledger.Ledger)
	far := sink.New(t, l)
	i := system(t, far)
	fill(t, i)
	if r, all := i.RunAs(credential(t, good), "", "postqueue", "-p"), i.Must("postqueue", "-p"); r.Code != 0 || len(r.Stdout) != len(all) {
		t.Fatalf("a user sees %d bytes of a listing of %d: %s", len(r.Stdout), len(all), r.Stderr)
	}
	f := flow(t, i, l, far)
	f.measure(round) // warm

	quietQmgr, quietCleanup := use(t, i, "qmgr"), use(t, i, "cleanup")
	bounds := []struct {
		what     string
		groups   []string
		refusals bool
	}{
		{"qmgr", nil, true}, {"pickup", nil, false}, {"half", nil, true}, {"deaf", nil, true}, {"loops", nil, false}, {"harmless", nil, false},
		{"maildrop", []string{"postdrop"}, false},
	}
	for _, b := range bounds {
		if only := os.Getenv("POSTRIDER_HOSTILE"); len(only) > 1 && !strings.Contains(only, b.what) {
			continue
		}
		var p50s, p99s, quiet50s, quiet99s []time.Duration
		var quietCPU, loudCPU, quietTime, loudTime time.Duration
		for range rounds {
			before, at := cpu(t, i), time.Now()
			n, p50, p99 := f.measure(round)
			quietCPU, quietTime = quietCPU+cpu(t, i)-before, quietTime+time.Since(at)
			quiet50s, quiet99s = append(quiet50s, p50), append(quiet99s, p99)

			a := start(t, i, credential(t, bad, b.groups...), b.what)
			before, at = cpu(t, i), time.Now()
			m, p50, p99 := f.measure(round)
			loudCPU, loudTime = loudCPU+cpu(t, i)-before, loudTime+time.Since(at)
			p50s, p99s = append(p50s, p50), append(p99s, p99)
			q, c := use(t, i, "qmgr"), use(t, i, "cleanup")
			if q.fds > quietQmgr.fds+80 || c.fds > quietCleanup.fds+80 {
				t.Errorf("%s: descriptors: qmgr %d, cleanup %d; before %d, %d", b.what, q.fds, c.fds, quietQmgr.fds, quietCleanup.fds)
			}
			if q.rss > quietQmgr.rss+64<<10 || c.rss > quietCleanup.rss+64<<10 {
				t.Errorf("%s: memory: qmgr %d KiB, cleanup %d KiB; before %d, %d", b.what, q.rss, c.rss, quietQmgr.rss, quietCleanup.rss)
			}
			root(t, i)
			got := a.stop()
			t.Logf("%-8s %d and %d messages; qmgr %d descriptors, %d MiB; cleanup %d, %d MiB; attacker: %v",
				b.what, n, m, q.fds, q.rss>>10, c.fds, c.rss>>10, got)
			if b.what == "loops" && got["done"] == 0 {
				t.Error("no listing came to its end")
			}
			if b.what == "maildrop" {
				sweep(t, i)
			}
		}
		q50, q99, l50, l99 := median(quiet50s), median(quiet99s), median(p50s), median(p99s)
		cost := float64(loudCPU)/float64(loudTime) - float64(quietCPU)/float64(quietTime)
		t.Logf("%-8s p50 %v, with it %v; p99 %v, with it %v; costs qmgr and cleanup %.0f %% of a processor", b.what, ms(q50), ms(l50), ms(q99), ms(l99), 100*cost)
		if cost > 0.6 {
			t.Errorf("%s costs the daemons %.0f %% of a processor", b.what, 100*cost)
		}
		if judge && b.what != "harmless" && l99 > 2*q99 {
			t.Errorf("%s: p99 %v, without it %v", b.what, ms(l99), ms(q99))
		}
		if b.refusals && b.what == "qmgr" && len(i.Grep(`postfix/qmgr.*warning: too many connections to public/qmgr: some from uid \d+ are refused`)) == 0 {
			t.Error("no line about refused connections")
		}
	}
	i.Must("postsuper", "-d", "ALL", "deferred")
	f.judge()
	if n := len(i.Grep(`panic|fatal`)); n > 0 {
		t.Errorf("%d fatal lines", n)
	}
}

// root gets in while an attack is under way, and its verbs work.
func root(t *testing.T, i *instance.Instance) {
	t.Helper()
	at := time.Now()
	for _, args := range [][]string{{"postqueue", "-p"}, {"postsuper", "-h", "ALL", "hold"}} {
		if r := i.RunAs(&syscall.Credential{}, "", args[0], args[1:]...); r.Code != 0 {
			t.Errorf("%v by root: %d, %s", args, r.Code, r.Stderr)
		}
	}
	if d := time.Since(at); d > 8*time.Second {
		t.Errorf("root waited %v", d)
	}
}

// A user with all his connections open is told so in one line; others get in.
func TestTooMany(t *testing.T) {
	t.Parallel()
	i := system(t, nil)
	a := start(t, i, credential(t, bad), "deaf")
	start(t, i, credential(t, bad), "half")
	i.Await("a refusal", func() bool {
		r := i.RunAs(credential(t, bad), "", "postqueue", "-p")
		return r.Code == 75 && strings.Contains(r.Stderr, "too many connections from you; try again") && strings.Count(r.Stderr, "\n") == 1
	})
	for _, name := range []string{good, "root", "postrider"} {
		if r := i.RunAs(credential(t, name), "", "postqueue", "-p"); r.Code != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	a.stop()
}

// Half a request is given up after ten seconds.
func TestHalfFrames(t *testing.T) {
	t.Parallel()
	i := system(t, nil)
	a := start(t, i, credential(t, bad), "half")
	time.Sleep(10*time.Second + 500*time.Millisecond) // the limit itself
	if got := a.stop(); got["timed out"] < 64 || got["refused"] == 0 {
		t.Errorf("%v", got)
	}
}

func cpu(t *testing.T, i *instance.Instance) time.Duration {
	return use(t, i, "qmgr").cpu + use(t, i, "cleanup").cpu
}

func median(d []time.Duration) time.Duration {
	slices.SortFunc(d, func(a, b time.Duration) int { return cmp.Compare(a, b) })
	return d[len(d)/2]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }

// sweep empties maildrop/ of what no mail is.
func sweep(t *testing.T, i *instance.Instance) {
	t.Helper()
	if err := os.RemoveAll(i.Queue + "/maildrop.old"); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(i.Queue + "/maildrop")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		os.RemoveAll(i.Queue + "/maildrop/" + n.Name())
	}
}
