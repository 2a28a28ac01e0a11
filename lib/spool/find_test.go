package spool

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"postrider/lib/mail"
)

// search looks for messages by id and says how many state records were read for it.
func (r *rig) search(ids ...string) (found []*Item, read int) {
	r.t.Helper()
	s := r.q.Find(ids)
	defer s.Close()
	for {
		it, err := s.Next()
		if err == io.EOF {
			slices.SortFunc(found, func(a, b *Item) int { return strings.Compare(string(a.ID), string(b.ID)) })
			return found, s.search.read
		}
		if err != nil {
			r.t.Fatal(err)
		}
		found = append(found, it)
	}
}

// wants checks that a search finds these messages, as a listing shows them.
func (r *rig) wants(what string, ids ...string) (read int) {
	r.t.Helper()
	all := r.items()
	got, read := r.search(append(ids, "none")...)
	if len(got) != len(ids) {
		r.t.Fatalf("%s: found %d of %d", what, len(got), len(ids))
	}
	slices.Sort(ids)
	for i, it := range got {
		if l := all[ids[i]]; l == nil || fmt.Sprint(*it) != fmt.Sprint(*l) {
			r.t.Errorf("%s: found %+v, listed %+v", what, it, l)
		}
	}
	return read
}

// Messages are found by id wherever they are, and only a part of the state records is
// read for it. Red without: filter.add (not found), may (all is read), the index of a
// file that is tailed, indexEntries (a bad index is believed), searchIndex (nothing is
// written again).
func TestFind(t *testing.T) {
	r := newRig(t, 1)
	r.o.RunSlots = 4 * pieceRecords
	r.stop()
	r.start()
	r.w.limit = 300 << 10
	const n = 6 * pieceRecords
	var ids []string
	for range n {
		e := r.envelope(1)
		r.w.add(e, nil)
		ids = append(ids, string(e.ID))
	}
	r.w.sync()
	var open *Message
	for i, m := range r.tail() {
		switch {
		case i == n-1:
			open = m
		case i == 5:
			r.q.Finish(m)
		default:
			r.deferAll(m, 5*time.Minute)
		}
		if i%500 == 0 {
			r.settle()
		}
	}
	some := []string{ids[0], ids[1500], ids[n-2], ids[n-1]}
	if r.q.Hold(r.targets(ids[1500])) != 1 {
		t.Fatal("no hold")
	}
	r.sync()
	r.settle()
	r.wants("at work", slices.Clone(some)...)
	if got, _ := r.search(ids[5]); len(got) > 0 {
		t.Errorf("found %v, which is finished", got)
	}
	if read := r.wants("one", ids[1500]); read > 2*pieceRecords {
		t.Errorf("%d of %d state records are read to find one", read, n)
	}

	// Each index is made again when it is absent or bad.
	var whole []string
	es, _ := r.disk.ReadDir(dirStore)
	for i, e := range es {
		whole = append(whole, e.Name())
		name := dirStore + "/" + e.Name()
		if i%2 == 0 {
			r.disk.Remove(name)
			continue
		}
		f, err := r.disk.OpenFile(name, 2, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteAt([]byte("bad"), 100)
		f.Close()
	}
	if len(whole) < 2 {
		t.Fatalf("indexes: %v", whole)
	}
	r.wants("without index", slices.Clone(some)...)
	for _, name := range whole {
		c := r.q.contents[number(t, name)]
		if x, err := readIndex(r.disk, dirStore+"/"+name, c.h.Key); err != nil || len(x) == 0 {
			t.Errorf("%s: %d entries, %v", name, len(x), err)
		}
	}

	r.q.Put(open, r.q.Fresh(open))
	r.powerCut()
	r.tail()
	r.wants("after a power cut", slices.Clone(some)...)
	if read := r.wants("the second time", ids[1500]); read > 2*pieceRecords {
		t.Errorf("%d of %d state records are read to find one", read, n)
	}
	r.q.Close()
}

func number(t *testing.T, index string) (n uint64) {
	if _, err := fmt.Sscanf(index, "content.%d.idx", &n); err != nil {
		t.Fatalf("%s: %v", index, err)
	}
	return n
}

// What was copied to store/ is found too.
func TestFindInStore(t *testing.T) {
	r, left := thinned(t, 1)
	r.compact()
	if r.q.Stats().StoreFiles == 0 {
		t.Fatal("nothing was compacted")
	}
	r.wants("compacted", slices.Clone(left)...)
	r.powerCut()
	r.wants("after a power cut", slices.Clone(left)...)
	r.q.Close()
}

// BenchmarkFind looks for one message among 100,000 that are deferred.
func BenchmarkFind(b *testing.B) {
	const n = 100_000
	q, _, ms := realRig(b, n)
	ids := make([]mail.QueueID, n)
	now := q.Now()
	for i, m := range ms {
		ids[i] = m.Envelope.ID
		g := []Group{{Recipients: []uint32{0}, Attempts: 1, Due: now.Add(time.Duration(i%3600) * time.Second), Status: mail.Status{DSN: "4.4.1", Text: "connect to mx.example.net[192.0.2.1]:25: Connection timed out"}}}
		q.Put(m, State{Since: now, Groups: g})
		if i%50 == 49 {
			turn(q)
		}
	}
	ms = nil
	for i := 0; b.Loop(); i++ {
		s := q.Find([]string{string(ids[i*7919%n])})
		if it, err := s.Next(); err != nil || it.ID != ids[i*7919%n] {
			b.Fatal(it, err)
		}
		s.Close()
	}
	q.dead = true
	q.end()
}
