package block

import (
	"math/rand/v2"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/ledger"
)

// The plug is pulled under the running system, again and again: what was acknowledged
// before comes out after, once but for what was in hand; what got 451 from a system whose
// disk was gone never does.
func TestPlugPull(t *testing.T) {
	pulls, seed := instance.Number(t, envPulls, 2), instance.Seed(t, envSeed)
	each(t, func(t *testing.T, kind filesystem) {
		if kind.name == "btrfs" {
			return // has no such call
		}
		w := newWorld(t, newDisk(t, kind))
		w.listen(nil, nil)
		w.down.Refuse()
		w.create()
		random := rand.New(rand.NewPCG(seed, 5))
		refused, repeated := 0, 0
		for n := range pulls {
			h := newHistory(w.disk.device) // at position 0 for ever: without a recording there is no before
			var told ledger.Ledger
			w.listen(h.deliver, h.report)
			w.Start()
			worked := make(chan struct{})
			go func() { w.work(h, seed+uint64(n), 800*time.Millisecond, func() bool { return true }); close(worked) }()
			time.Sleep(time.Duration(100+random.IntN(500)) * time.Millisecond) // the moment is the test's subject
			if err := w.disk.pull([]uint32{shutNoLogFlush, shutLogFlush}[n%2]); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond) // what they say without a disk counts, too
			w.Kill()
			<-worked
			w.disk.unmount()
			if err := w.disk.mount(); err != nil {
				t.Fatalf("pull %d: mount: %v", n, err)
			}
			w.down.Accept(t)
			w.Start()
			w.drain()
			w.down.Refuse()
			deleted, _ := h.at(0, &told)
			w.Account(&told)
			v := told.Judge()
			if err := v.Err(); err != nil {
				t.Fatalf("%s=%d, pull %d: %v", envSeed, seed, n, err)
			}
			if f := w.Files("corrupt"); len(f) > 0 || len(v.Both) > 0 {
				t.Fatalf("%s=%d, pull %d: in corrupt/: %v; delivered and bounced: %v", envSeed, seed, n, f, v.Both)
			}
			if len(v.Duplicates) > 4*inHand {
				t.Errorf("%s=%d, pull %d: %d duplicates: %v", envSeed, seed, n, len(v.Duplicates), v.Duplicates)
			}
			for _, f := range h.found {
				if deleted[f.key.Message] && !f.bounced {
					t.Errorf("%s=%d, pull %d: %s was deleted, and is delivered", envSeed, seed, n, f.key)
				}
			}
			for _, s := range h.sent {
				refused += len(s.refused)
			}
			repeated += len(v.Duplicates)
			w.Kill()
		}
		t.Logf("%s=%d: %d pulls, %d recipients refused, %d deliveries repeated", envSeed, seed, pulls, refused, repeated)
	})
}
