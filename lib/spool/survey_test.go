package spool

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"postrider/lib/mail"
	"postrider/lib/slot"
)

// survey reads the spool as it is on the disk: by id, with its content.
func (r *rig) survey() (found map[string]*Found, contents map[string]string, losses []Loss) {
	r.t.Helper()
	found, contents = make(map[string]*Found), make(map[string]string)
	_, err := Survey(r.disk, func(f *Found) error {
		id := string(f.Envelope.ID)
		if _, ok := found[id]; ok {
			r.t.Errorf("%s is found twice", id)
		}
		var b bytes.Buffer
		if err := f.WriteContent(&b); err != nil {
			r.t.Errorf("%s: %v", id, err)
		}
		c := *f
		found[id], contents[id] = &c, b.String()
		return nil
	}, func(l Loss) { losses = append(losses, l) })
	if err != nil {
		r.t.Fatal(err)
	}
	return found, contents, losses
}

// seen is what a survey finds, in the form of twin.real.
func (w *twin) seen() string {
	found, _, losses := w.survey()
	if len(losses) > 0 {
		w.fail("a survey lost %v", losses)
	}
	var ls []string
	for id, f := range found {
		if w.maybe[id] != 0 {
			continue
		}
		var d [3]time.Time
		for _, g := range f.State.Groups {
			for _, n := range g.Recipients {
				d[n] = g.Due
			}
		}
		ls = append(ls, line(id, f.Queue == InHold, d, f.Unfinished()))
	}
	slices.Sort(ls)
	return strings.Join(ls, "")
}

// compare says that a survey agrees with the queue, which is in use.
func (w *twin) compare() {
	w.t.Helper()
	w.settle()
	if w.disk.Stopped() || w.q.log.failed {
		return
	}
	if got, want := w.seen(), w.print(); got != want {
		w.fail("a survey found\n%snot\n%s", got, want)
	}
}

// Whatever happens to a spool, a survey agrees with what qmgr knows, before it
// has tailed what is new, and with what the next one would find.
func TestSurveyModel(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := newRig(t, 1000+seed)
			r.q.Close()
			r.o.LogSize, r.o.RunSlots = 32<<10, 8
			r.start()
			r.w.limit = 64 << 10
			w := &twin{rig: r, rnd: rand.New(rand.NewPCG(seed, 2)), all: make(map[string]*twinMail), maybe: make(map[string]int), ever: make(map[string]int), size: make(map[string]int)}
			w.note("start")
			for n := range 250 {
				w.operate()
				if n%10 == 9 {
					w.compare()
				}
				switch w.rnd.IntN(40) {
				case 0:
					w.trace = append(w.trace, fmt.Sprintf("%d: power cut", w.step))
					r.stop()
					r.disk.PowerCut()
					maybe := w.maybe
					w.maybe = nil // what survived counts
					before := w.seen()
					w.maybe = maybe
					r.start()
					w.recovered(true)
					if got := w.print(); before != got {
						w.fail("a survey before the start found\n%sthen there was\n%s", before, got)
					}
				case 1:
					w.trace = append(w.trace, fmt.Sprintf("%d: kill", w.step))
					w.kill()
					w.recovered(false)
				}
			}
			r.stop()
		})
	}
}

// Of a spool without logs and checkpoints everything is found, with what the
// newest state record says.
func TestSurveyWithoutLog(t *testing.T) {
	r := newRig(t, 1)
	a, b, c := r.send(2), r.send(2), r.send(1)
	for _, m := range r.tail() {
		if m.Envelope.ID == mail.QueueID(c) {
			r.q.Finish(m)
			continue
		}
		r.q.Done(m.Ref, 0)
		m.State.Done.Add(0)
		r.deferAll(m, time.Hour)
	}
	r.settle()
	r.pass(2 * time.Hour)
	for _, m := range r.due() { // the older record of a stays beside that of b
		if m.Envelope.ID == mail.QueueID(a) {
			m.State.Groups[0].Attempts, m.State.Groups[0].Due = 2, r.q.Now().Add(time.Hour)
			r.q.Put(m, m.State)
		}
	}
	r.checkpoint()
	r.sync()
	found, contents, losses := r.survey()
	if len(found) != 2 || len(losses) != 0 || contents[a] != "content of "+a || found[a].Queue != InDeferred ||
		!slices.Equal(found[b].Unfinished(), []uint32{1}) || found[b].State.Groups[0].Status.Text != "no answer from "+b {
		t.Fatalf("found %v, lost %v", found, losses)
	}
	r.stop()
	es, _ := r.disk.ReadDir(dirLog)
	for _, e := range es {
		r.disk.Remove(dirLog + "/" + e.Name())
	}
	found, _, losses = r.survey()
	if len(found) != 3 || len(losses) != 1 || !slices.Equal(found[b].Unfinished(), []uint32{1}) || found[a].Queue != InDeferred || found[a].State.Groups[0].Attempts != 2 || found[c].Queue != NeverDeferred {
		t.Errorf("without a log: found %v, lost %v", found, losses)
	}
}

// Each block of each kind of file flipped costs at most what lies in it, is told,
// and costs no other message.
func TestSurveyFlipped(t *testing.T) {
	r := newRig(t, 1)
	var all []string
	for range 12 {
		e := r.envelope(2)
		r.w.add(e, bytes.Repeat([]byte("x"), 1500))
		r.w.sync()
		all = append(all, string(e.ID))
	}
	for n, m := range r.tail() {
		if n%3 == 0 {
			r.q.Done(m.Ref, 0)
		}
		if n%3 != 2 {
			r.deferAll(m, time.Hour)
		}
	}
	r.checkpoint()
	var ts []Target
	for id, it := range r.items() {
		if id == all[3] {
			ts = append(ts, it.Target)
		}
	}
	r.q.Hold(ts)
	r.sync()
	r.settle()
	r.stop()
	if found, _, losses := r.survey(); len(found) != 12 || len(losses) != 0 {
		t.Fatalf("found %d, lost %v", len(found), losses)
	}
	flips := 0
	for _, dir := range []string{dirIncoming, dirDeferred, dirLog} {
		es, _ := r.disk.ReadDir(dir)
		for _, e := range es {
			name := dir + "/" + e.Name()
			f, err := r.disk.OpenFile(name, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			size, _ := f.Size()
			h, herr := slot.ReadHeader(f)
			if herr == nil && h.Kind == slot.Free {
				continue
			}
			for off := int64(0); off < min(size, 64<<10); off += 4096 {
				old := make([]byte, min(4096, size-off))
				f.ReadAt(old, off)
				flipped := slices.Clone(old)
				for i := range flipped {
					flipped[i] ^= 0x5a
				}
				f.WriteAt(flipped, off)
				found, _, losses := r.surveyQuietly(t)
				limit := 12
				if dir == dirIncoming && off >= slot.DataStart {
					limit = 12 - 4 // so many begin or end in a block
				}
				if len(found) < limit || len(found) < 12 && len(losses) == 0 {
					t.Errorf("%s at %d: found %d, lost %v", name, off, len(found), losses)
				}
				flips++
				f.WriteAt(old, off)
			}
			f.Close()
		}
	}
	if flips < 20 {
		t.Errorf("%d blocks flipped only", flips)
	}
}

func (r *rig) surveyQuietly(t *testing.T) (map[string]bool, int, []Loss) {
	t.Helper()
	found := map[string]bool{}
	var losses []Loss
	_, err := Survey(r.disk, func(f *Found) error { found[string(f.Envelope.ID)] = true; return nil },
		func(l Loss) { losses = append(losses, l) })
	if err != nil {
		t.Fatal(err)
	}
	return found, 0, losses
}

// A spool of another version is refused; one whose version file is damaged is read.
func TestSurveyVersion(t *testing.T) {
	r := newRig(t, 1)
	r.stop()
	f, _ := r.disk.OpenFile(versionFile, os.O_RDWR, 0)
	f.WriteAt([]byte("postrider spool 9\n"), 0)
	if _, err := Survey(r.disk, nil, nil); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
	f.WriteAt([]byte("postrider spo\xff\xff"), 0)
	if _, err := Survey(r.disk, nil, func(l Loss) { t.Log(l) }); err != nil {
		t.Error(err)
	}
}
