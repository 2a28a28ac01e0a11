package spool

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postrider/lib/mail"
)

// spoil damages all files in a directory whose names begin so.
func (r *rig) spoil(dir, prefix string) {
	es, _ := r.disk.ReadDir(dir)
	for _, e := range es {
		if strings.HasPrefix(e.Name(), prefix) {
			i, _ := e.Info()
			r.disk.Flip(dir+"/"+e.Name(), 0, i.Size())
		}
	}
}

// out gives everything that comes out of the spool, held mail released.
func (r *rig) out() map[string]*Message {
	all := make(map[string]*Message)
	take := func(ms []*Message) {
		for _, m := range ms {
			if all[string(m.Envelope.ID)] != nil {
				r.t.Errorf("%s comes out twice", m.Envelope.ID)
			}
			all[string(m.Envelope.ID)] = m
		}
	}
	take(r.tail())
	r.settle()
	for range 40 {
		r.pass(10 * time.Minute)
		take(r.due())
		r.settle()
	}
	return all
}

// Red without: rebuild (Open refuses); strays (with the logs, what no run holds is
// lost); the comparison of generations in record (an older state comes out).
func TestRebuild(t *testing.T) {
	for _, lost := range []string{"checkpoints", "checkpoints and logs"} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprint(lost, seed), func(t *testing.T) {
				r := newRig(t, seed)
				r.w.limit = 16 << 10
				want, gone := map[string]bool{}, map[string]bool{}
				attempts, held := map[string]uint32{}, map[string]bool{}
				r.q.Close()
				r.o.RunSlots = 8
				r.start()
				r.w.limit = 16 << 10
				for round := range 4 {
					for range 30 {
						e := r.envelope(2)
						r.w.add(e, make([]byte, 900))
						want[string(e.ID)] = true
					}
					r.w.sync()
					for i, m := range r.tail() {
						id := string(m.Envelope.ID)
						switch i % 5 {
						case 0:
							r.q.Finish(m)
							delete(want, id)
							gone[id] = true
						case 1:
							r.q.Done(m.Ref, 1)
						case 4: // stays open
						default:
							r.deferAll(m, time.Duration(2+i)*time.Minute)
							attempts[id] = 1
						}
					}
					r.pass(6 * time.Minute)
					for _, m := range r.due() {
						attempts[string(m.Envelope.ID)]++
						g := m.State.Groups
						g[0].Attempts, g[0].Due = attempts[string(m.Envelope.ID)], r.q.Now().Add(3*time.Hour)
						r.q.Put(m, State{Since: m.State.Since, Groups: g, Done: m.State.Done})
					}
					if round == 2 {
						for id := range r.items() {
							if len(held) < 5 {
								held[id] = true
								r.q.Hold(r.targets(id))
							}
						}
					}
					if round < 3 {
						r.checkpoint()
					}
				}
				r.sync()
				if lost != "checkpoints" {
					r.checkpoint() // runs are not synced before that
				}
				r.settle()
				r.stop()
				r.disk.Kill()
				r.spoil(dirLog, "ckpt.")
				if lost != "checkpoints" {
					r.spoil(dirLog, "0")
				}
				r.start()
				for id, it := range r.items() {
					if held[id] && lost == "checkpoints" && it.Queue != InHold {
						t.Errorf("%s is not on hold any more", id)
					}
				}
				if seed%2 == 1 { // a crash before anything else
					r.powerCut()
				}
				r.tail() // release all
				var ts []Target
				for _, it := range r.items() {
					if it.Queue == InHold {
						ts = append(ts, it.Target)
					}
				}
				r.q.Release(ts)
				got := map[string]*Message{}
				for ref, m := range r.q.open {
					got[string(m.Envelope.ID)] = m
					_ = ref
				}
				for id, m := range r.out() {
					got[id] = m
				}
				for id := range want {
					m := got[id]
					if m == nil {
						t.Fatalf("%s is lost\nlog: %q", id, r.logs)
					}
					if g := m.State.Groups; attempts[id] > 0 && (len(g) != 1 || g[0].Attempts != attempts[id]) {
						t.Errorf("%s has an older state: %+v, want %d attempts", id, g, attempts[id])
					}
				}
				if lost == "checkpoints" {
					for id := range got { // the logs go back far enough here
						if gone[id] && r.o.LogSize > 1<<20 {
							t.Errorf("%s comes back", id)
						}
					}
				}
				if !slices.ContainsFunc(r.logs, func(s string) bool { return strings.Contains(s, "rebuilt") }) {
					t.Error("nobody was told")
				}
				r.checkpoint()
				r.checkpoint()
				r.q.Close()
				n := len(r.logs)
				r.start()
				for _, l := range r.logs[n:] {
					if strings.Contains(l, "rebuilt") {
						t.Error("rebuilt again")
					}
				}
				r.q.Close()
			})
		}
	}
}

// Red without: held.
func TestRebuildHold(t *testing.T) {
	r := newRig(t, 1)
	a := r.send(1)
	m := r.tail()[0]
	r.q.Hold(r.targets(a))
	r.deferAll(m, time.Minute)
	r.checkpoint()
	r.settle()
	r.stop()
	r.disk.Kill()
	r.spoil(dirLog, "")
	r.start()
	r.expect("tail", r.tail())
	if it := r.items()[a]; it == nil || it.Queue != InHold {
		t.Errorf("listing: %+v", it)
	}
	r.q.Close()
}

// Red without: the Replaces of files that are read again after a rebuild.
func TestRebuildReplaces(t *testing.T) {
	r := newRig(t, 1)
	a := r.send(2)
	m := r.tail()[0]
	r.deferAll(m, time.Minute)
	e := r.envelope(1)
	e.Replaces = mail.Replaces{ID: mail.QueueID(a), File: m.Ref.File, Slot: m.Ref.Slot, Recipients: []uint32{1}}
	r.w.add(e, nil)
	r.w.sync()
	r.tail()
	r.w.fresh()
	r.send(1)
	r.tail()
	r.checkpoint()
	r.settle()
	r.stop()
	r.disk.Kill()
	r.spoil(dirLog, "")
	r.start()
	m = r.out()[a]
	if m == nil || !m.State.Done.Has(1) {
		t.Errorf("what the other message took over: %+v", m)
	}
	r.q.Close()
}

// Red without: the test of the prefix in layout.
func TestVersionDamaged(t *testing.T) {
	r := newRig(t, 1)
	a := r.send(1)
	r.tail()
	r.sync()
	r.q.Close()
	r.spoil(".", versionFile)
	r.start()
	r.expect("tail", r.tail(), a)
	r.q.Close()
	f, _ := r.q.create(versionFile)
	f.WriteAt([]byte("postrider spool 2\n"), 0)
	if _, err := Open(r.o); !errors.Is(err, ErrVersion) {
		t.Errorf("opened: %v", err)
	}
}
