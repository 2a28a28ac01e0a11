package kill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"postrider/test/instance"
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

// systems are how many are killed at once.
const systems = 2

// Any process, or all, killed at random moments under load: everything that got 250 is
// delivered or bounced, bit for bit, and duplicates stay within what the victims allow.
// Several kills come before the system is left alone, drained and judged.
func TestRandomKills(t *testing.T) {
	seed := instance.Seed(t, envSeed)
	kills := instance.Number(t, envCycles, 10)
	t.Logf("%s=%d %s=%d", envSeed, seed, envCycles, kills)
	for n := range uint64(systems) {
		t.Run(strconv.FormatUint(n, 10), func(t *testing.T) {
			t.Parallel()
			killed(t, seed+n, (kills+systems-1)/systems)
		})
	}
}

// killed is the life of one system.
func killed(t *testing.T, seed uint64, kills int) {
	random := rand.New(rand.NewPCG(seed, 1))
	w := world.New(t)
	w.Start()
	x := world.NewLetters(seed)
	before, counts := ledger.Verdict{}, map[string]int{}
	for done := 0; done < kills; {
		ctx, stop := context.WithCancel(context.Background())
		var load sync.WaitGroup
		load.Go(func() { source.Load(ctx, w.Addr, 6, &w.Ledger, x.Next) })
		load.Go(func() { w.Submit(ctx, x.Next) })
		var who []string
		allowed := 0
		for n := min(1+random.IntN(4), kills-done); n > 0; n-- {
			victim := victims[done%len(victims)]
			if done >= len(victims) {
				victim = victims[random.IntN(len(victims))]
			}
			w.Sent(x, 10+random.IntN(40))
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
			who, allowed = append(who, victim.name), allowed+victim.duplicates
			counts[victim.name]++
			done++
		}
		if slices.Contains(who, "master") && slices.Contains(who, "qmgr") {
			// The agents of a dead master end with what they have done, and a qmgr that has
			// just died took none of their reports: as if everything had been killed.
			allowed += (most + 1) * inHand
		}
		w.Sent(x, random.IntN(20))
		stop()
		load.Wait()
		v := w.Drain()
		where := fmt.Sprintf("seed %d, kill %d: killed %v", seed, done, who)
		t.Logf("%s: %s", where, v)
		if err := v.Err(); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		if n := len(v.Duplicates) - len(before.Duplicates); n > allowed {
			t.Errorf("%s: %d duplicates, at most %d allowed: %v", where, n, allowed, v.Duplicates)
		}
		if len(v.Both) > 0 {
			t.Errorf("%s: delivered and bounced: %v", where, v.Both)
		}
		if v.Acked == before.Acked {
			t.Errorf("%s: nothing was acknowledged", where)
		}
		if f := w.Files("corrupt"); len(f) > 0 {
			t.Fatalf("%s: in corrupt/: %v", where, f)
		}
		before = v
	}
	t.Logf("killed: %v; %s", counts, before)
	if err := w.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}
