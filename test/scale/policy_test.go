//go:build scale

package scale

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postrider/lib/mail"
	"postrider/test/sink"
	"postrider/test/source"
)

// TestPolicyHigher: a million messages of a low class wait for the destination that one
// of a higher class is for, each twentieth of a second another.
func TestPolicyHigher(t *testing.T) {
	n := many(1_000_000)
	w := newWorld(t, "smtp:"+dead)
	w.WriteFile("conf/sched.cf", `
queue "bulk" { priority = "low" }
queue "vip" { priority = "high" }
rule {
  when  = startswith(rcpt, "bulk")
  queue = "bulk"
}
rule { queue = "vip" }
`)
	now := time.Now()
	w.fill(n, func(int) Letter { return Letter{To: []mail.Address{"bulk@good.test"}, Arrival: now} })
	w.good.Do(sink.Behaviour{Dot: func(*sink.Mail) string { time.Sleep(100 * time.Millisecond); return "" }})
	w.Start()
	f, stop := w.healthy("vip", 2)
	w.good.Handle(false, func(m *sink.Mail) {
		if m.ID != "" {
			f.Arrive(m)
		}
	})
	w.until("the bulk to be under way", time.Minute, func() bool { return f.Arrived() > 100 })
	begin := time.Now()
	time.Sleep(time.Minute)
	stop()
	x := f.Times(begin, time.Now(), 10*time.Second)
	mb := Peak(w.PID("qmgr"))
	record(t, "a message of a higher class behind 1,000,000 of a lower one for the same destination, which takes 200/s", "within 1 s", x.Within(time.Second) >= 99,
		"%v; qmgr %d MB at most", x, mb)
	w.Kill()
}

// tenRules are what a site of some size has: each asks for something of its own, and the
// last takes the mail.
var tenRules = `
facts { tenant = header["x-tenant"] }
queue "bulk" {
  slots    = 100
  priority = "low"
}
schedule "patient" {
  retry  = ["10m", "30m", "1h", "4h"]
  expire = "4d"
}
rule {
  when  = source_kind == "dsn" && size > "1MB"
  queue = "bulk"
}
rule {
  when     = tenant == "acme" && rcpt_domain == "example.com"
  priority = "high"
}
` + strings.Join(func() (list []string) {
	for i := range 7 {
		list = append(list, fmt.Sprintf("rule {\n  when     = under(rcpt_domain, \"d%d.example\") || startswith(sender, \"news%d\") && attempts > %d\n  queue    = \"bulk\"\n  schedule = \"patient\"\n}\n", i, i, i))
	}
	return list
}(), "") + "rule { schedule = \"patient\" }\n"

// TestPolicyCost: what ten rules cost each message, in processor time of all daemons
// together: two systems, one without a policy, take their turns, in short rounds, since
// what else the machine does is no less for the one than for the other then.
func TestPolicyCost(t *testing.T) {
	const n, rounds = 2000, 60
	daemons := []string{"smtpd", "cleanup", "qmgr", "smtp"}
	type system struct {
		*world
		arrived atomic.Int64
		total   map[string]time.Duration
	}
	systems := [2]*system{}
	for i := range systems {
		s := &system{world: newWorld(t, "smtp:"+dead, "default_process_count = 1"), total: map[string]time.Duration{}}
		if i == 1 {
			s.WriteFile("conf/sched.cf", tenRules)
		}
		s.good.Handle(false, func(*sink.Mail) { s.arrived.Add(1) })
		s.Start()
		systems[i] = s
	}
	round := func(s *system) (sum time.Duration) {
		before := map[string]time.Duration{}
		for _, d := range daemons {
			before[d] = OnCPU(s.PID(d))
		}
		want := s.arrived.Load() + n
		s.feed(n, func(int) string { return "r@good.test" })
		s.until("all mail", time.Minute, func() bool { return s.arrived.Load() >= want })
		for _, d := range daemons {
			used := OnCPU(s.PID(d)) - before[d]
			s.total[d] += used
			sum += used
		}
		return sum
	}
	for range 5 { // until sessions are kept and buffers have grown
		round(systems[0])
		round(systems[1])
	}
	clear(systems[0].total)
	clear(systems[1].total)
	var more []float64 // in percent
	for i := range rounds {
		first := i % 2
		var cost [2]time.Duration
		cost[first] = round(systems[first])
		cost[1-first] = round(systems[1-first])
		more = append(more, 100*(float64(cost[1])/float64(cost[0])-1))
	}
	slices.Sort(more)
	var each [2]float64 // µs a message
	for _, d := range daemons {
		of := func(i int) float64 { return float64(systems[i].total[d].Nanoseconds()) / 1e3 / n / rounds }
		t.Logf("%-8s %5.1f µs, without a policy %5.1f µs", d, of(1), of(0))
		each[0] += of(0)
		each[1] += of(1)
	}
	median := more[rounds/2]
	record(t, "ten rules: processor time of all daemons for each message", "under 5 % more", median < 5, "%.1f %% more (half of %d rounds of %d: %.1f to %.1f); %.0f µs, without %.0f µs",
		median, rounds, n, more[rounds/4], more[rounds*3/4], each[1], each[0])
}

// TestPolicyKeys: what a limit costs qmgr in memory whose rate has 100,000 keys to
// remember, beside the same mail without one.
func TestPolicyKeys(t *testing.T) {
	n := many(100_000)
	resident := func(policy string) int64 {
		w := newWorld(t, "smtp:"+dead)
		if policy != "" {
			w.WriteFile("conf/sched.cf", policy)
		}
		var arrived, next atomic.Int64
		w.good.Handle(false, func(*sink.Mail) { arrived.Add(1) })
		w.Start()
		source.Load(context.Background(), w.Addr, 10, nil, func() *source.Message {
			i := next.Add(1)
			if i > int64(n) {
				return nil
			}
			return source.New(fmt.Sprint("key", i), fmt.Sprintf("tenant%d@some-domain-of-theirs.example", i), 300, "r@good.test")
		})
		w.until("all mail", 10*time.Minute, func() bool { return arrived.Load() >= int64(n) })
		peak := Peak(w.PID("qmgr"))
		w.Kill()
		return peak
	}
	without := resident("")
	with := resident(`
limit "tenant" {
  key   = [sender]
  rate  = "1,000/d"
  burst = 10
}
rule { }
`)
	record(t, "a limit with 100,000 keys: memory of qmgr at most, all of it", "64 MB for the keys", with-without <= 64, "%d MB; %d MB without the limit, after the same mail", with, without)
}
