package kill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// Environment variables: how many kills, and the seed of a run to be repeated.
const (
	envCycles = "POSTRIDER_KILL_CYCLES"
	envSeed   = "POSTRIDER_KILL_SEED"
)

const all = "everything"

// victims, and how many duplicates each may cause: S4. An agent repeats at most what it
// had in hand, which the process limit below bounds; bounce repeats nothing, since its
// report takes over the recipients that it reports.
const (
	inHand = 20 // deliveries of a transport at once
	most   = 3  // recipients of a message
)

var victims = []struct {
	name       string
	duplicates int
}{
	{"cleanup", 0}, {"qmgr", 0}, {"smtpd", 0}, {"bounce", 0}, {"master", 0},
	{"smtp", most * inHand}, {"local", inHand}, {all, (most + 1) * inHand},
}

func number(t *testing.T, name string, otherwise int64) int64 {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// traffic makes messages of many kinds.
type traffic struct {
	mu     sync.Mutex
	random *rand.Rand
	n      int
}

func (x *traffic) next() *source.Message {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.n++
	id := fmt.Sprintf("m%d", x.n)
	sizes := []int{1000, 1000, 1000, 4000, 4000, 4000, 30_000, 30_000, 200_000, 700_000} // the last is no part of the journal
	kinds := []string{"%s@good.test", "%s@good.test", "later-%s@good.test", "%s@slow.test", "no-%s@good.test", "%s@" + instance.Domain}
	var to []string
	for n := range 1 + x.random.IntN(3) {
		to = append(to, fmt.Sprintf(kinds[x.random.IntN(len(kinds))], fmt.Sprintf("%s-%d", id, n)))
	}
	return source.New(id, "sender@back.test", sizes[x.random.IntN(len(sizes))], to...)
}

func (x *traffic) count() int { x.mu.Lock(); defer x.mu.Unlock(); return x.n }

// sent waits until n more messages were begun.
func (w *world) sent(x *traffic, n int) {
	n += x.count()
	w.Await(fmt.Sprintf("%d messages to be sent", n), func() bool { return x.count() >= n })
}

// world is a system with sinks of every temper around it.
type world struct {
	*instance.Instance
	l    ledger.Ledger
	good *sink.Sink
	slow *sink.Sink
	back *sink.Sink
}

func newWorld(t *testing.T, lines ...string) *world {
	w := &world{}
	w.good, w.slow, w.back = sink.New(t, &w.l), sink.New(t, &w.l), sink.New(t, &w.l)
	var seen sync.Map
	w.good.Do(sink.Behaviour{Rcpt: func(_, r string) string {
		switch {
		case strings.HasPrefix(r, "no-"):
			return "550 5.1.1 nobody of that name"
		case strings.HasPrefix(r, "later-"):
			if _, again := seen.LoadOrStore(r, true); !again {
				return "450 4.2.0 not at the first attempt"
			}
		}
		return ""
	}})
	w.slow.Do(sink.Behaviour{Dot: func(*sink.Mail) string { time.Sleep(30 * time.Millisecond); return "" }})
	found := func(m *sink.Mail) { m.Tell(&w.l) }
	w.good.Handle(false, found)
	w.slow.Handle(false, found)
	w.back.Reports()
	w.Instance = instance.New(t, append([]string{
		"transport_maps = inline:{ {good.test=smtp:" + w.good.NextHop() + "} {slow.test=smtp:" + w.slow.NextHop() + "} {back.test=smtp:" + w.back.NextHop() + "} }",
		"minimal_backoff_time = 1s", "maximal_backoff_time = 1s", "service_throttle_time = 1s",
		fmt.Sprintf("default_process_limit = %d", inHand), "smtpd_client_connection_count_limit = 0",
	}, lines...)...)
	return w
}

// submit is load by sendmail, which works whoever was killed.
func (w *world) submit(ctx context.Context, next func() *source.Message) {
	for ctx.Err() == nil {
		m := next()
		w.l.Attempt(m.ID, ledger.Hash(m.Content), m.Recipients...)
		in := strings.ReplaceAll(string(m.Content), "\r\n", "\n")
		r, err := w.Try(in, "sendmail", append([]string{"-i", "-f", m.Sender, "--"}, m.Recipients...)...)
		if err == nil && r.Code == 0 {
			w.l.Acked(m.ID, m.Recipients...)
		} else {
			w.l.Unknown(m.ID, m.Recipients...)
		}
	}
}

// drain waits until nothing is queued, pushing what is deferred, and accounts for all.
func (w *world) drain() ledger.Verdict {
	w.Await("an empty queue", func() bool {
		w.Run("postqueue", "-f")
		return w.Drained()
	})
	w.Account(&w.l)
	return w.l.Judge()
}

// Any process, or all, killed at random moments under load: everything that got 250 is
// delivered or bounced, bit for bit, and duplicates stay within what the victim allows.
func TestRandomKills(t *testing.T) {
	t.Parallel()
	seed := number(t, envSeed, time.Now().UnixNano()%1_000_000)
	cycles := int(number(t, envCycles, 10))
	t.Logf("%s=%d %s=%d", envSeed, seed, envCycles, cycles)
	random := rand.New(rand.NewPCG(uint64(seed), 1))
	w := newWorld(t)
	w.Start()
	x := &traffic{random: rand.New(rand.NewPCG(uint64(seed), 2))}
	before := ledger.Verdict{}
	for cycle := range cycles {
		victim := victims[cycle%len(victims)]
		if cycle >= len(victims) {
			victim = victims[random.IntN(len(victims))]
		}
		ctx, stop := context.WithCancel(context.Background())
		var load sync.WaitGroup
		var acked atomic.Int64
		load.Go(func() { acked.Store(int64(source.Load(ctx, w.Addr, 6, &w.l, x.next))) })
		load.Go(func() { w.submit(ctx, x.next) })
		w.sent(x, 10+random.IntN(80))
		time.Sleep(time.Duration(random.IntN(20000)) * time.Microsecond) // the moment is the test's subject
		switch victim.name {
		case all:
			w.Kill()
			w.Start()
		case "master": // the others finish what they have, and the next master waits for them
			w.KillMaster()
			w.Start()
		default:
			w.KillOne(victim.name)
		}
		w.sent(x, random.IntN(20))
		stop()
		load.Wait()
		v := w.drain()
		t.Logf("cycle %d: killed %s after %d acknowledged: %s", cycle, victim.name, acked.Load(), v)
		if err := v.Err(); err != nil {
			t.Fatalf("cycle %d, killed %s, seed %d: %v", cycle, victim.name, seed, err)
		}
		if n := len(v.Duplicates) - len(before.Duplicates); n > victim.duplicates {
			t.Errorf("cycle %d, killed %s, seed %d: %d duplicates, at most %d allowed: %v", cycle, victim.name, seed, n, victim.duplicates, v.Duplicates)
		}
		if len(v.Both) > 0 {
			t.Errorf("cycle %d, killed %s, seed %d: delivered and bounced: %v", cycle, victim.name, seed, v.Both)
		}
		if v.Acked == before.Acked {
			t.Errorf("cycle %d: nothing was acknowledged", cycle)
		}
		if f := w.Files("corrupt"); len(f) > 0 {
			t.Fatalf("cycle %d, killed %s, seed %d: in corrupt/: %v", cycle, victim.name, seed, f)
		}
		before = v
	}
	if err := w.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}
