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
	sure := w.acts   // decisions that count for certain
	var told []*fact // what the new qmgr has logged already
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
			w.faults = false // faults and all
		} else {
			w.disk.Kill()
			w.heal()
		}
		w.restart(how == power)
	case justQmgr:
		w.qmgr.killAfter(0)
		w.heal()
		open := w.open
		sure = w.written
		w.q.Close()
		w.startQmgr()
		told = w.reports(open, sure)
		w.greet()
	case justCleanup:
		w.cleanup.killAfter(0)
		w.heal()
		w.journal.Close()
		if w.startCleanup() {
			w.greet()
		}
		if w.stopped() {
			return // something else is about to crash anyhow
		}
	}
	if w.script { // what a failing disk did not show yet
		w.repair()
		for w.tail(16) > 0 {
		}
	}
	w.check(sure, how)
	for _, f := range told {
		f.act = w.act()
	}
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

// reports is what agents tell a new qmgr before it starts anything: what the old
// one may not have written, and deliveries that ended meanwhile.
func (w *world) reports(open []*work, sure uint64) (told []*fact) {
	for _, x := range open {
		for n := range x.rcpts {
			if x.rcpts[n].state == trying && w.rnd.IntN(2) == 0 {
				w.delivered(x.l, uint32(n), x.content)
			}
		}
	}
	for _, l := range w.order {
		at, seen := w.refs[l.id]
		for n, r := range l.rcpts {
			if seen && r.delivered > 0 && !r.mayRepeat && (!r.over.is || r.over.act > sure) {
				w.q.Done(at, uint32(n))
				r.over = fact{is: true}
				told = append(told, &r.over)
			}
		}
	}
	return told
}

// check compares what is in the queue with what has to be: decisions up to sure
// count, later ones may or may not. What a qmgr finds as it starts is certain from
// then on, since it synced what it read.
func (w *world) check(sure uint64, how crash) {
	w.t.Helper()
	states++
	items := w.items()
	if w.stopped() {
		return
	}
	for id := range items {
		if w.letters[id] == nil {
			w.fail("%s came out of nowhere", id)
		}
	}
	for _, l := range w.order {
		switch {
		case l.fate != unknown:
		case items[l.id] != nil:
			l.fate = taken
		case how != justQmgr: // the next cleanup could not find it
			l.fate = refused
		}
		if l.fate == taken && l.original != nil {
			for _, n := range l.about {
				l.original.rcpts[n].over = fact{is: true}
			}
		}
	}
	for _, l := range w.order {
		w.checkLetter(l, items[l.id], sure, how)
		for _, r := range l.rcpts {
			r.mayRepeat = r.mayRepeat || how <= everything && r.delivered > 0 && !r.over.is
		}
	}
	if es, _ := w.disk.ReadDir("corrupt"); len(es) > 0 {
		w.fail("corrupt/%s after crashes alone", es[0].Name())
	}
}

func (w *world) checkLetter(l *letter, it *spool.Item, sure uint64, how crash) {
	w.t.Helper()
	settle := func(f *fact, now bool, what string) {
		w.t.Helper()
		if f.is != now && f.act <= sure {
			w.fail("%s: %s is %v, and must be %v", l.id, what, now, f.is)
		}
		if how != justCleanup {
			*f = fact{is: now}
		}
	}
	if l.fate != taken {
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
	var content []byte
	if err == nil {
		content, err = io.ReadAll(c)
		c.Close()
	}
	if w.stopped() {
		return
	}
	if err != nil || !same(l, content) {
		w.fail("content of %s is not what was sent: %d bytes, %v", l.id, len(content), err)
	}
}
