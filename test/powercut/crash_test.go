package powercut

import (
	"io"

	"postrider/lib/spool"
)

// crash is a way to die.
type crash uint8

const (
	power       crash = iota // everything, and what was not synced
	everything               // all processes, agents included
	justQmgr                 // agents finish what they have, and tell the next qmgr
	justCleanup              // qmgr goes on
)

// crash ends and restarts what it is about, at once, and checks what is there.
func (w *world) crash(how crash) {
	w.note("crash %d", how)
	sure := w.acts // decisions that count for certain
	switch how {
	case power, everything:
		sure = w.written
		if how == power {
			sure = w.synced
		}
		w.disk.StopAfter(0)
		w.journal.Close()
		w.q.Close()
		if how == power {
			if w.rnd.IntN(2) == 0 {
				w.disk.Evict()
			}
			w.disk.PowerCut()
		} else {
			w.disk.Kill()
			w.heal()
		}
		w.faults = false
		w.restart(how == power)
	case justQmgr:
		w.qmgr.killAfter(0)
		w.heal()
		open := w.open
		sure = w.written
		w.q.Close()
		w.startQmgr()
		w.reports(open, sure)
		w.greet()
	case justCleanup:
		w.cleanup.killAfter(0)
		w.heal()
		w.journal.Close()
		w.startCleanup()
		w.greet()
	}
	w.check(sure, how == power || how == everything)
}

// restart starts both, in either order. When the power failed it may fail again
// while they recover.
func (w *world) restart(again bool) {
	if again && w.rnd.IntN(3) == 0 {
		w.disk.StopAfter(w.rnd.IntN(60))
	}
	for {
		ok := false
		if w.rnd.IntN(2) == 0 {
			ok = w.startCleanup() && w.startQmgr()
		} else {
			ok = w.startQmgr() && w.startCleanup()
		}
		if ok {
			w.greet()
			if !w.disk.Stopped() {
				w.disk.StopAfter(-1)
				break
			}
		}
		w.note("cut again")
		w.halt()
		w.disk.PowerCut()
	}
}

// halt ends the goroutines of processes on a disk without power.
func (w *world) halt() {
	w.journal.Close()
	w.q.Close()
}

// reports is what agents tell a new qmgr before it starts anything: deliveries
// that the old one did not acknowledge, and those that ended meanwhile.
func (w *world) reports(open []*work, sure uint64) {
	for _, l := range w.order {
		at, seen := w.refs[l.id]
		for n, r := range l.rcpts {
			if seen && r.over.act > sure && r.delivered > 0 {
				w.q.Done(at, uint32(n))
				r.over = fact{is: true}
			}
		}
	}
	for _, x := range open {
		for n := range x.rcpts {
			r := x.l.rcpts[n]
			if x.rcpts[n].state == trying && w.rnd.IntN(2) == 0 {
				w.delivered(x.l, uint32(n), x.content)
			}
			if r.delivered > 0 && !r.over.is && !x.l.deleted.is {
				w.q.Done(x.Ref, uint32(n))
				r.over = fact{is: true}
			}
		}
	}
}

// check compares what is in the queue with what has to be: decisions up to sure
// count, later ones may or may not. What is found is certain from then on.
func (w *world) check(sure uint64, agentsDied bool) {
	w.t.Helper()
	states++
	items := w.items()
	for id := range items {
		if w.letters[id] == nil {
			w.fail("%s came out of nowhere", id)
		}
	}
	for _, l := range w.order {
		if l.fate == unknown {
			l.fate = refused
			if items[l.id] != nil {
				l.fate = taken
			}
		}
		if l.fate == taken && l.original != nil {
			for _, n := range l.about {
				l.original.rcpts[n].over = fact{is: true}
			}
		}
	}
	for _, l := range w.order {
		w.checkLetter(l, items[l.id], sure)
		for _, r := range l.rcpts {
			r.mayRepeat = r.mayRepeat || agentsDied && r.delivered > 0 && !r.over.is
		}
	}
	if es, _ := w.disk.ReadDir("corrupt"); len(es) > 0 {
		w.fail("corrupt/%s after crashes alone", es[0].Name())
	}
}

func (w *world) checkLetter(l *letter, it *spool.Item, sure uint64) {
	w.t.Helper()
	settle := func(f *fact, now bool, what string) {
		w.t.Helper()
		if f.is != now && f.act <= sure {
			w.fail("%s: %s is %v, and must be %v", l.id, what, now, f.is)
		}
		*f = fact{is: now}
	}
	if l.fate == refused {
		if it != nil {
			w.fail("%s was refused and is in the queue", l.id)
		}
		return
	}
	if l.deleted.is {
		settle(&l.deleted, it == nil, "deleted")
		if it == nil {
			return
		}
	}
	listed := map[uint32]bool{}
	if it != nil {
		for _, r := range it.Recipients {
			listed[r.Number] = true
		}
	}
	for n, r := range l.rcpts {
		settle(&r.over, !listed[uint32(n)], "finished for "+r.addr)
	}
	if it == nil {
		return
	}
	settle(&l.held, it.Queue == spool.InHold, "on hold")
	c, err := w.q.Cat(it)
	if err != nil {
		w.fail("content of %s: %v", l.id, err)
	}
	content, err := io.ReadAll(c)
	c.Close()
	if err != nil || !same(l, content) {
		w.fail("content of %s is not what was sent: %d bytes, %v", l.id, len(content), err)
	}
}
