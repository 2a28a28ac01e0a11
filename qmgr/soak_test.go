package qmgr

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/lib/proto"
	"postrider/lib/spool"
)

// chaos runs f every so often until stop is closed.
func chaos(wg *sync.WaitGroup, stop chan struct{}, every time.Duration, f func()) {
	if pace, _ := strconv.Atoi(os.Getenv("SOAKPACE")); pace > 0 {
		every /= time.Duration(pace)
	}
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(every/2 + rand.N(every)):
				f()
			}
		}
	})
}

// drained waits until the queue is empty.
func (w *world) drained(patience time.Duration) {
	w.t.Helper()
	var q []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		op := w.operator()
		if _, err := op.Do(&proto.Verb{Kind: proto.VerbRelease, All: true}); err != nil {
			w.t.Fatal(err)
		}
		if _, err := op.Do(&proto.Verb{Kind: proto.VerbFlush}); err != nil {
			w.t.Fatal(err)
		}
		op.Close()
		if n := ask(w.m, func() int { s := w.m.spool.Stats(); return s.Open + s.Deferred + s.Held }); n > 1000 {
			time.Sleep(2 * time.Second)
			continue
		}
		if q = w.queue(); len(q) == 0 {
			return
		}
	}
	ask(w.m, func() bool {
		for _, msg := range w.m.active {
			w.t.Logf("active %s: idle %v reported %v gone %v, %+v, machine %+v", msg.Envelope.ID, msg.idle, msg.reported, msg.gone, msg.rcpts, w.m.machine.Why(msg.id))
		}
		w.t.Logf("parked %d due %d inhand %d foreign %d lost %d held %d stalled %v", w.m.fresh.len(), len(w.m.due), len(w.m.inHand), len(w.m.foreign), len(w.m.lost), len(w.m.held), w.m.stalled)
		return true
	})
	w.t.Fatalf("left in the queue: %d %v", len(q), q[:min(len(q), 20)])
}

// Whatever dies, and however often: every accepted recipient is delivered to or reported
// once, nothing that an operator deleted is tried, and nothing is left behind.
//
// SOAK is how many messages, SOAKPACE how many times faster than usual everything dies,
// SOAKMODE what happens: q kills of qmgr, g stops of it among them, c kills of cleanup,
// b of bounce, s of smtp, r reloads, o operators; all when it is not set.
func TestSoak(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("SOAK"))
	if n == 0 {
		n = 2000
	}
	w := newWorld(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var turn sync.Mutex // one death at a time; two things may be dead together
	mode := os.Getenv("SOAKMODE")
	has := func(c string) bool { return mode == "" || strings.Contains(mode, c) }
	if has("q") {
		chaos(&wg, stop, 700*time.Millisecond, func() {
			turn.Lock()
			defer turn.Unlock()
			if has("g") && rand.IntN(2) == 0 {
				w.stopQmgr()
			} else {
				w.killQmgr()
			}
			if rand.IntN(3) == 0 {
				w.killCleanup()
			}
			w.startQmgr()
			if rand.IntN(3) == 0 { // twice in a row
				time.Sleep(rand.N(30 * time.Millisecond))
				w.killQmgr()
				w.startQmgr()
			}
		})
	}
	if has("c") {
		chaos(&wg, stop, 900*time.Millisecond, func() { turn.Lock(); defer turn.Unlock(); w.killCleanup() })
	}
	if has("b") {
		chaos(&wg, stop, 900*time.Millisecond, func() { turn.Lock(); defer turn.Unlock(); w.killAgent("bounce") })
	}
	if has("s") {
		chaos(&wg, stop, 1500*time.Millisecond, func() { turn.Lock(); defer turn.Unlock(); w.killAgent("smtp.0") })
	}
	if has("r") {
		chaos(&wg, stop, 200*time.Millisecond, func() { turn.Lock(); defer turn.Unlock(); ask(w.m, func() bool { w.m.reload(); return true }) })
	}
	if has("o") {
		chaos(&wg, stop, 300*time.Millisecond, func() {
			turn.Lock()
			defer turn.Unlock()
			op := w.operator()
			defer op.Close()
			switch rand.IntN(4) {
			case 0:
				op.Do(&proto.Verb{Kind: proto.VerbFlush})
			case 1:
				op.Do(&proto.Verb{Kind: proto.VerbRelease, All: true})
			default:
				var ids []string
				op.List(&proto.List{}, func(it *proto.Item) error {
					if rand.IntN(20) == 0 && len(ids) < 50 {
						ids = append(ids, string(it.ID))
					}
					return nil
				})
				kind := []proto.VerbKind{proto.VerbHold, proto.VerbDelete, proto.VerbFlush}[rand.IntN(3)]
				d, err := op.Do(&proto.Verb{Kind: kind, IDs: ids})
				if err == nil && kind == proto.VerbDelete {
					w.lmu.Lock()
					for _, id := range d.IDs {
						w.deleted[id] = true
						w.final[id] = d.InHand == 0
					}
					w.lmu.Unlock()
				}
			}
		})
	}
	w.load(n, true)
	close(stop)
	wg.Wait()
	w.drained(time.Minute + time.Duration(n)*time.Millisecond)
	w.judge()
	w.clean()
}

// clean says what is left behind by an empty queue.
func (w *world) clean() {
	w.t.Helper()
	count := func(dir string) int {
		es, _ := os.ReadDir(filepath.Join(w.dir, dir))
		return len(es)
	}
	w.until("content/ has nothing that was accepted", func() bool {
		es, _ := os.ReadDir(filepath.Join(w.dir, "content"))
		for _, e := range es {
			if w.accepted[e.Name()] {
				return false
			}
		}
		return true
	})
	w.until("nothing but the file being written is in use", func() bool {
		return ask(w.m, func() bool { return w.m.spool.Stats().ContentFiles <= 1 })
	})
	w.t.Logf("left: incoming %d deferred %d hold %d log %d corrupt %d; early %d deleted %d bumped %d, %d goroutines, %d descriptors; %+v",
		count("incoming"), count("deferred"), count("hold"), count("log"), count("corrupt"),
		ask(w.m, func() int { return len(w.m.early) }), ask(w.m, func() int { return len(w.m.deleted) }), ask(w.m, func() int { return len(w.m.bumped) }),
		runtime.NumGoroutine(), func() int { es, _ := os.ReadDir("/proc/self/fd"); return len(es) }(), ask(w.m, func() spool.Stats { return w.m.spool.Stats() }))
	if n := count("corrupt"); n > 0 {
		w.t.Errorf("%d files in corrupt/", n)
	}
	if n := count("incoming"); n > 20 {
		w.t.Errorf("%d files in incoming/", n)
	}
}
