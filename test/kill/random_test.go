package kill

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postrider/test/ledger"
	"postrider/test/source"
	"postrider/test/world"
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
	inHand = world.InHand
	most   = world.Recipients
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

// Any process, or all, killed at random moments under load: everything that got 250 is
// delivered or bounced, bit for bit, and duplicates stay within what the victim allows.
func TestRandomKills(t *testing.T) {
	t.Parallel()
	seed := number(t, envSeed, time.Now().UnixNano()%1_000_000)
	cycles := int(number(t, envCycles, 10))
	t.Logf("%s=%d %s=%d", envSeed, seed, envCycles, cycles)
	random := rand.New(rand.NewPCG(uint64(seed), 1))
	w := world.New(t)
	w.Start()
	x := world.NewLetters(uint64(seed))
	before := ledger.Verdict{}
	for cycle := range cycles {
		victim := victims[cycle%len(victims)]
		if cycle >= len(victims) {
			victim = victims[random.IntN(len(victims))]
		}
		ctx, stop := context.WithCancel(context.Background())
		var load sync.WaitGroup
		var acked atomic.Int64
		load.Go(func() { acked.Store(int64(source.Load(ctx, w.Addr, 6, &w.Ledger, x.Next))) })
		load.Go(func() { w.Submit(ctx, x.Next) })
		w.Sent(x, 10+random.IntN(80))
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
		w.Sent(x, random.IntN(20))
		stop()
		load.Wait()
		v := w.Drain()
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
