package spool

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

var everyBlock = flag.Bool("flip.every", false, "flip every block, also those of files written in advance that are not used yet")

const blockSize = 4096

// flipped is a spool with everything in it, and what is known of it.
type flipped struct {
	*rig
	fate  map[string]*fate
	spots []spot
}

// fate is what must become of a message.
type fate struct {
	gone     bool     // finished: never given out
	held     bool     // never given out
	deferred bool     // not by Tail
	done     []uint32 // recipients that are finished: in no group of what is given out
	ref      slot.Ref
}

// spot is a block of a file and the messages that it may hurt.
type spot struct {
	name string
	off  int64
	hurt map[string]bool
}

func buildFlipped(t *testing.T) *flipped {
	f := &flipped{rig: newRig(t, 7), fate: make(map[string]*fate)}
	r := f.rig
	r.q.Close()
	r.o.RunSlots = 16
	r.start()
	r.w.limit = 40 << 10
	n := 0
	for batch := range 4 {
		for i := range 40 {
			e := r.envelope(1 + i%3)
			r.w.add(e, make([]byte, 300+100*(i%11)))
			f.fate[string(e.ID)] = &fate{}
		}
		r.w.sync()
		for i, m := range r.tail() {
			id := string(m.Envelope.ID)
			x := f.fate[id]
			x.ref = m.Ref
			k := i % 6
			if n++; batch == 0 && k != 1 { // little is left of these: it is copied to store/
				k = 0
			}
			switch k {
			case 0:
				r.q.Finish(m)
				x.gone = true
			case 1:
				r.deferAll(m, time.Duration(i%30+1)*time.Minute)
				x.deferred = true
			case 2:
				r.q.Done(m.Ref, 0)
				x.done = []uint32{0}
				if len(m.Envelope.Recipients) == 1 {
					x.gone = true
					r.q.Finish(m)
				}
			case 3:
				r.q.Hold(r.targets(id))
				x.held = true
				r.deferAll(m, time.Minute)
			case 4:
				r.q.Done(m.Ref, 0)
				x.done = []uint32{0}
				if r.deferAll(m, 20*time.Minute); len(m.Envelope.Recipients) == 1 {
					x.gone = true // Put finishes it
				}
				x.deferred = true
			}
			if i%5 == 0 {
				r.sync()
			}
			if n == 90 || n == 115 || n == 130 {
				r.checkpoint()
			}
		}
		if batch == 1 {
			r.pass(compactEvery)
			r.sync()
			r.settle()
			r.sync()
			r.settle()
			if s := r.q.Stats(); s.StoreFiles != 1 {
				t.Fatalf("nothing is compacted: %+v", s)
			}
		}
	}
	for i := range 26 { // not tailed yet; nothing says that the last block was durable
		e := r.envelope(1)
		r.w.add(e, make([]byte, 900))
		r.w.f.Sync()
		r.w.enc.Synced(r.w.enc.End())
		if i < 20 {
			f.fate[string(e.ID)] = &fate{ref: slot.Ref{File: r.w.number, Slot: r.w.enc.Slots() - 1}}
		}
	}
	r.sync()
	for range 80 { // what follows says that those before were durable
		r.q.logClock()
		r.sync()
	}
	r.settle()
	r.stop()
	r.disk.Kill()
	f.findSpots()
	return f
}

// findSpots lists the blocks of all files and whose bytes lie in them.
func (f *flipped) findSpots() {
	byRef := make(map[slot.Ref]string)
	for id, x := range f.fate {
		byRef[x.ref] = id
	}
	for _, dir := range []string{dirIncoming, dirStore, dirDeferred, dirHold, dirLog} {
		es, _ := f.disk.ReadDir(dir)
		for _, e := range es {
			i, _ := e.Info()
			name := dir + "/" + e.Name()
			spots := make([]spot, (i.Size()+blockSize-1)/blockSize)
			for k := range spots {
				spots[k] = spot{name, int64(k) * blockSize, make(map[string]bool)}
			}
			used := 2
			file, err := f.disk.OpenFile(name, 0, 0)
			if err != nil {
				f.t.Fatal(err)
			}
			h, err := slot.ReadHeader(file)
			if err != nil && !strings.HasSuffix(name, ".idx") && !strings.Contains(name, "ckpt") {
				f.t.Fatalf("%s: %v", name, err)
			}
			for s := slot.NewScanner(file, h, i.Size()); err == nil; {
				rec, err := s.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					f.t.Fatalf("%s: %v", name, err)
				}
				for k := rec.Offset / blockSize; k <= (rec.End()-1)/blockSize; k++ {
					used = max(used, int(k)+2)
					for _, id := range f.names(h, rec, byRef) {
						spots[k].hurt[id] = true
					}
				}
			}
			if strings.Contains(name, "ckpt") {
				used = len(spots)
			}
			for k, s := range spots {
				if *everyBlock || k < used || k == len(spots)-1 {
					f.spots = append(f.spots, s)
				}
			}
			file.Close()
		}
	}
	f.spots = append(f.spots, spot{name: versionFile})
}

// names says of whom a record speaks.
func (f *flipped) names(h slot.Header, rec *slot.Record, byRef map[slot.Ref]string) []string {
	switch h.Kind {
	case slot.State, slot.Hold:
		return []string{byRef[stateRef(rec.Envelope)]}
	case slot.Content, slot.Store:
		return []string{string(rec.ID)}
	case slot.Log:
		var ids []string
		decodeEntries(rec.Content, func(e *entry) {
			switch e.kind {
			case entHold, entRelease, entDelete:
				d := decoder{b: e.numbers}
				for _, n := range d.numbers(1000) {
					ids = append(ids, byRef[slot.Ref{File: e.file, Slot: n}])
				}
			default:
				ids = append(ids, byRef[e.ref])
			}
		})
		return ids
	}
	return nil
}

// Every block of every kind of file is lost in turn: only messages whose bytes lie
// in it suffer; none vanishes, none is sent twice. Red without: the names in log
// records, findOrphans, the second checkpoint, lostSlots, both fixed headers.
func TestEveryBlockLost(t *testing.T) {
	f := buildFlipped(t)
	kinds := make(map[string]int)
	for i, s := range f.spots {
		d := f.disk.Clone(uint64(i))
		d.Flip(s.name, s.off, blockSize)
		f.try(t, d, s)
		kinds[strings.SplitN(s.name, "/", 2)[0]]++
		if t.Failed() {
			return
		}
	}
	for _, k := range []string{dirIncoming, dirDeferred, dirHold, dirLog, dirStore, versionFile} {
		if kinds[k] == 0 {
			t.Errorf("nothing of %s was tried", k)
		}
	}
	t.Logf("%d blocks: %v", len(f.spots), kinds)
}

// try opens the spool on a disk where a block is lost and compares.
func (f *flipped) try(t *testing.T, d *disk.Model, s spot) {
	t.Helper()
	r := &rig{t: t, disk: d, wall: f.wall, mono: f.mono, o: f.o}
	r.o.FS = d
	r.o.Logf = func(s string, a ...any) { r.logs = append(r.logs, fmt.Sprintf(s, a...)) }
	r.o.Now = func() time.Time { return r.wall }
	r.o.Mono = func() time.Duration { return r.mono }
	r.o.OnFreed = func(string) {}
	what := fmt.Sprintf("%s at %d", s.name, s.off)
	q, err := Open(r.o)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	r.q = q
	defer r.stop()
	if err := q.WriterGone(0); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	given := make(map[string]*Message)
	take := func(ms []*Message, deferred bool) {
		for _, m := range ms {
			id := string(m.Envelope.ID)
			x := f.fate[id]
			if x == nil {
				x = &fate{}
			}
			switch {
			case given[id] != nil:
				t.Errorf("%s: %s is given out twice", what, id)
			case m.Held: // the owner puts it back
				r.deferAll(m, time.Minute)
				continue
			case x.gone || x.held:
				t.Errorf("%s: %s is given out, being %+v", what, id, x)
			case x.deferred && !deferred && len(x.done) > 0:
				t.Errorf("%s: %s has lost its state", what, id)
			}
			if given[id] = m; !deferred {
				for _, n := range x.done {
					if !m.State.Done.Has(n) {
						t.Errorf("%s: recipient %d of %s is tried again", what, n, id)
					}
				}
			}
			for _, g := range m.State.Groups {
				for _, n := range x.done {
					if slices.Contains(g.Recipients, n) {
						t.Errorf("%s: recipient %d of %s is tried again", what, n, id)
					}
				}
			}
		}
	}
	take(r.tail(), false)
	for range 4 {
		r.settle()
		r.pass(10 * time.Minute)
		take(r.due(), true)
	}
	r.settle()
	items := r.items()
	saved := strings.Join(r.corrupt(), " ")
	for id, x := range f.fate {
		it := items[id]
		onHold := it != nil && q.IsHeld(it.Ref)
		ok := x.gone && !onHold || x.held && onHold || !x.gone && !x.held && given[id] != nil
		switch {
		case ok:
		case !s.hurt[id]:
			t.Errorf("%s: %s suffers, whose bytes are elsewhere: %+v, now %+v", what, id, x, it)
		case onHold, x.gone, strings.Contains(saved, id), len(saved) > 0 && (strings.HasPrefix(s.name, dirIncoming) || strings.HasPrefix(s.name, dirStore)):
		default:
			t.Errorf("%s: %s has vanished: %+v, now %+v", what, id, x, it)
		}
	}
	// In the end everything can be given back.
	var all []Target
	for _, it := range items {
		all = append(all, it.Target)
	}
	q.Delete(all)
	for _, m := range q.open {
		q.Finish(m)
	}
	for range 3 {
		r.sync()
		r.settle()
	}
	if st := q.Stats(); st.Open+st.ContentFiles > 0 {
		t.Errorf("%s: left over: %+v", what, st)
	}
	if t.Failed() {
		t.Fatalf("log: %q\ncorrupt: %v", r.logs, r.corrupt())
	}
}
