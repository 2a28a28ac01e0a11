package spool

import "testing"

// postsuper -s finds nothing in a good spool, and in a damaged one each file that was
// spoiled, and a record that was finished, which a Survey does not miss. Red without the
// calls of each in Verify.
func TestVerify(t *testing.T) {
	r := newRig(t, 1)
	held := r.send(1)
	r.send(1)
	over := r.send(1)
	var file string
	var at int64
	for _, m := range r.tail() {
		if string(m.Envelope.ID) == over {
			file, at = dirIncoming+"/"+r.q.contents[m.Ref.File].name, m.content.record
			r.q.Finish(m)
			continue
		}
		r.deferAll(m, 0)
	}
	r.q.Hold(r.targets(held))
	r.due()
	r.sync()
	r.checkpoint()
	r.settle()
	r.stop()
	lost := func() (n int) {
		if err := Verify(r.disk, func(Loss) { n++ }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := lost(); n > 0 {
		t.Errorf("%d things wrong in a good spool", n)
	}
	r.disk.Flip(file, at+70, 2)
	if n := lost(); n != 1 {
		t.Errorf("a finished record is damaged, and %d things wrong", n)
	}
	for _, dir := range []string{dirIncoming, dirDeferred, dirHold, dirLog} {
		es, err := r.disk.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		before := lost()
		for _, e := range es {
			r.spoil(dir, e.Name())
		}
		if n := lost(); len(es) > 0 && n <= before {
			t.Errorf("%d files of %s/ are spoiled, and %d things wrong as before", len(es), dir, n)
		}
	}
}
