package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
	"postrider/test/world"
)

// Environment variables: how long the load runs (10m), how many messages a second, and
// the seed of a run to be repeated.
const (
	envTime = "POSTRIDER_SOAK"
	envRate = "POSTRIDER_SOAK_RATE"
	envSeed = "POSTRIDER_SOAK_SEED"
)

// usualRate makes a million messages in two hours, the rests included.
const usualRate = 145

// rounds of load, each with rest behind it. In the last three processes are killed.
const (
	rounds = 10
	killed = 3
)

var busy = sink.Behaviour{Rcpt: func(string, string) string { return "450 4.2.0 busy" }}

func TestSoak(t *testing.T) {
	t.Parallel()
	length, rate, seed := 3*time.Second, instance.Number(t, envRate, usualRate), instance.Seed(t, envSeed)
	if v := os.Getenv(envTime); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			t.Fatal(err)
		}
		length = d
	}
	t.Logf("%s=%d, %v, %d messages a second", envSeed, seed, length, rate)
	r := &run{t: t, World: world.New(t, "daemon_profile = yes"), random: rand.New(rand.NewPCG(seed, 1))}
	t.Cleanup(func() {
		if !t.Failed() || r.Exited() {
			return
		}
		for _, p := range r.Processes()[1:] { // what are they doing?
			syscall.Kill(p.PID, syscall.SIGQUIT)
		}
		time.Sleep(time.Second)
		b, _ := os.ReadFile(r.Dir + "/stderr")
		os.WriteFile(filepath.Join(os.TempDir(), fmt.Sprintf("postrider-soak-%d.stacks", seed)), b, 0o600)
	})
	r.Start()
	x := world.NewLetters(seed)
	x.Sizes = append(slices.Repeat([]int{500, 1000, 1000, 2000, 2000, 4000, 4000, 4000, 8000, 8000, 8000, 30_000, 30_000, 60_000}, 4), 300_000)

	var at []rest
	var messages int64
	allowed := 0
	start := time.Now()
	next := paced(start, rate, x)
	for n := range rounds {
		faults := harmless
		if n >= rounds-killed {
			faults = append(append([]fault(nil), harmless...), kills...)
		}
		end := start.Add(length * time.Duration(n+1) / rounds)
		if least := time.Now().Add(length / rounds / 2); end.Before(least) { // the rest took long
			end = least
		}
		acked, happened, may := r.round(end, next, x, faults)
		messages += acked
		allowed += may
		v := r.rest()
		r.judge(v, allowed)
		at = append(at, measure(r.World))
		t.Logf("round %d, after %v: %d acknowledged in it, faults %v; %v", n, time.Since(start).Round(time.Second), acked, happened, v)
		for _, d := range append(daemons, "master") {
			t.Logf("  %-8s %v", d, at[n].processes[d])
		}
		for _, c := range at[n].crowded() {
			t.Error(c)
		}
		if t.Failed() {
			return
		}
	}
	// What fills once, such as caches, has done so after the first round; the second part
	// is compared with itself.
	for _, pair := range [][2]int{{1, rounds - killed - 1}, {rounds - killed, rounds - 1}} {
		for _, g := range growth(at[pair[0]], at[pair[1]]) {
			t.Errorf("between the rests %d and %d: %s", pair[0], pair[1], g)
		}
	}
	if err := r.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	t.Logf("%d messages acknowledged in %v", messages, time.Since(start).Round(time.Second))
}

// round puts the system under load and faults until then. It returns how many
// messages were acknowledged to SMTP clients, what happened how often,
// and how many duplicates that may have caused.
func (r *run) round(end time.Time, next func(context.Context) *source.Message, x *world.Letters, faults []fault) (acked int64, happened map[string]int, may int) {
	ctx, stop := context.WithDeadline(context.Background(), end)
	defer stop()
	r.ctx = ctx
	var load sync.WaitGroup
	var total atomic.Int64
	load.Go(func() {
		total.Store(int64(source.Load(ctx, r.Addr, 8, &r.Ledger, func() *source.Message { return next(ctx) })))
	})
	load.Go(func() { r.Submit(ctx, sparse(ctx, x)) })
	happened = map[string]int{}
	for ctx.Err() == nil {
		f := faults[r.random.IntN(len(faults))]
		f.do(r)
		happened[f.name]++
		may += f.duplicates
		r.pause(5 * time.Second)
	}
	load.Wait()
	return total.Load(), happened, may
}

// paced gives rate letters a second to all who ask, counted from start: after a rest
// comes what was due in it.
func paced(start time.Time, rate int, x *world.Letters) func(context.Context) *source.Message {
	var n atomic.Int64
	return func(ctx context.Context) *source.Message {
		due := start.Add(time.Duration(n.Add(1)) * time.Second / time.Duration(rate))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(due)):
			return x.Next()
		}
	}
}

// sparse gives five letters a second.
func sparse(ctx context.Context, x *world.Letters) func() *source.Message {
	return func() *source.Message {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second / 5):
			return x.Next()
		}
	}
}

// rest waits until all mail has gone where it goes.
func (r *run) rest() ledger.Verdict {
	r.Must("postsuper", "-H", "ALL")
	end := time.Now().Add(5 * time.Minute) // a round of the long run leaves more than Drain waits for
	for len(r.List()) > 500 && time.Now().Before(end) {
		r.Must("postqueue", "-f")
		time.Sleep(200 * time.Millisecond)
	}
	return r.Drain()
}

func (r *run) judge(v ledger.Verdict, allowed int) {
	r.t.Helper()
	if err := v.Err(); err != nil {
		r.t.Error(err)
	}
	if len(v.Duplicates) > allowed || len(v.Both) > 0 {
		r.t.Errorf("%d duplicates, at most %d allowed: %.2000v; delivered and bounced: %v", len(v.Duplicates), allowed, v.Duplicates, v.Both)
	}
	if f := r.Files("corrupt"); len(f) > 0 {
		r.t.Errorf("in corrupt/: %v", f)
	}
}
