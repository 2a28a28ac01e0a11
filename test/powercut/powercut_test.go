package powercut

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/test/instance"
)

// states counts the crashes after which everything was checked.
var states int

// operate does one thing at random.
func (w *world) operate() {
	w.step++
	switch k := w.rnd.IntN(100); {
	case k < 16:
		var ls []*letter
		for range 1 + w.rnd.IntN(3) {
			size := 400 + w.rnd.IntN(2000)
			if w.rnd.IntN(8) == 0 {
				size += 5000
			}
			ls = append(ls, w.compose(size, 1+w.rnd.IntN(3)))
		}
		w.submit(ls...)
	case k < 28:
		w.tail(1 + w.rnd.IntN(6))
	case k < 44:
		for _, x := range w.open {
			if w.rnd.IntN(2) == 0 {
				w.attempt(x)
			}
		}
	case k < 64:
		for _, x := range append([]*work(nil), w.open...) {
			if len(x.numbers(trying)) > 0 && w.rnd.IntN(2) == 0 && !w.stopped() {
				w.result(x, 40)
			}
		}
	case k < 70: // what is not wanted in memory
		for _, x := range append([]*work(nil), w.open...) {
			if w.rnd.IntN(4) == 0 && !w.stopped() {
				w.conclude(x)
			}
		}
	case k < 78:
		w.pass(time.Duration(w.rnd.IntN(20)) * time.Minute)
		w.due(1 + w.rnd.IntN(8))
	case k < 84:
		w.verb()
	case k < 85:
		w.q.Flush()
	case k < 87:
		w.pass(time.Hour) // and a checkpoint
	case k < 92:
		w.sync()
	case k < 96: // what the committer has is written
		w.turn()
		acts := w.acts
		w.until("written", func() bool { return w.written >= acts })
	case k < 97 && !w.script:
		w.fault()
	default:
		w.turn()
	}
	w.turn()
}

// fault lets one call, or all for a while, fail.
func (w *world) fault() {
	f := disk.Fault{Op: disk.OpSync, Err: syscall.EIO, After: w.rnd.IntN(3), Forever: w.rnd.IntN(3) == 0}
	if w.rnd.IntN(3) == 0 {
		f.Op = disk.OpWrite
	}
	f.Prefix = []string{"incoming/", "log/0", "deferred/", "content/"}[w.rnd.IntN(4)]
	w.disk.Heal()
	w.disk.Fail(f)
	w.faults = true
	w.note("fault %+v", f)
}

// finish delivers all there is and judges.
func (w *world) finish() {
	w.repair()
	for i := 0; ; i++ {
		w.step++
		more := w.tail(100)
		items := w.items()
		if len(items)+more == 0 && i > 2 { // a tail that met a fault is tried again
			break
		}
		if i == 400 {
			w.fail("%d messages do not come out", len(items))
		}
		for _, l := range w.order {
			if it := items[l.id]; it != nil && l.held.is {
				w.q.Release(targets(it))
				l.held = fact{act: w.act()}
			}
		}
		w.tail(100)
		w.due(100)
		for range 3 {
			for _, x := range append([]*work(nil), w.open...) {
				w.attempt(x)
				w.result(x, 90)
			}
		}
		w.sync()
		w.pass(30 * time.Minute)
	}
	for _, l := range w.order {
		if l.deleted.is {
			w.ledger.Deleted(string(l.id), l.addrs(nil)...)
			if l.original != nil {
				w.ledger.Deleted(string(l.original.id), l.original.addrs(l.about)...)
			}
		}
	}
	v := w.ledger.Judge()
	if err := v.Err(); err != nil {
		w.fail("%v", err)
	}
	w.disk.StopAfter(0)
	w.halt()
}

// The power fails at each call that changes something, in turn, so before and
// after each sync.
func TestEachCall(t *testing.T) {
	before := states
	every := 1
	if testing.Short() {
		every = 5
	}
	for seed := range uint64(2) {
		for n, ends := 0, 0; ends < 3; n += every {
			w := newWorld(t, seed)
			w.disk.StopAfter(n)
			for range 60 {
				if w.operate(); w.stopped() {
					break
				}
			}
			if !w.disk.Stopped() {
				ends++
			}
			w.crash(power)
			for range 5 {
				w.operate()
			}
			w.crash(everything)
			w.finish()
		}
	}
	t.Logf("%d crash states", states-before)
}

// Histories of crashes of all kinds at any moment. POSTRIDER_CRASH_STATES says
// how many crashes there are in all.
func TestHistories(t *testing.T) {
	want := 2000
	if testing.Short() {
		want = 300
	}
	want = instance.Number(t, "POSTRIDER_CRASH_STATES", want)
	before := states
	for seed := uint64(0); states-before < want; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { history(t, seed, 30) })
		if t.Failed() {
			return
		}
	}
}

func history(t *testing.T, seed uint64, crashes int) {
	w := newWorld(t, seed)
	for range crashes {
		for range w.rnd.IntN(12) {
			w.operate()
		}
		how := crash(w.rnd.IntN(6)) // a power cut, half of the time
		switch how {
		case everything:
			w.disk.StopAfter(w.rnd.IntN(40))
		case justQmgr:
			w.qmgr.killAfter(w.rnd.IntN(30))
		case justCleanup:
			w.cleanup.killAfter(w.rnd.IntN(20))
		default:
			how = power
			w.disk.StopAfter(w.rnd.IntN(60))
		}
		for range 15 {
			if w.operate(); w.stopped() || w.cleanup.killed() {
				break
			}
		}
		w.crash(how)
	}
	w.finish()
}

// What was refused because a write or sync failed is never delivered, whatever comes
// next, and the batches before and after are.
func TestRefused(t *testing.T) {
	for seed := range uint64(48) {
		w := newWorld(t, seed)
		letters := func() (ls []*letter) {
			for range 3 {
				ls = append(ls, w.compose(600, 2))
			}
			return ls
		}
		w.submit(letters()...)
		f := disk.Fault{Op: disk.OpSync, Prefix: "incoming/", Err: syscall.EIO}
		if seed%2 == 0 {
			f.Op = disk.OpWrite
		}
		refusals := 0
		for tries := 0; refusals == 0; tries++ { // the fault may meet a file made in advance
			if tries == 100 {
				w.fail("nothing is refused")
			}
			w.disk.Fail(f)
			ls := letters()
			w.submit(ls...)
			w.disk.Heal()
			for _, l := range ls {
				if l.fate == refused {
					refusals++
				}
			}
		}
		w.submit(letters()...)
		if how := crash(seed / 2 % 6); how <= justCleanup {
			w.crash(how)
		} else {
			w.tail(20)
		}
		w.finish()
	}
}
