package spool

import "testing"

// postsuper -s finds nothing in a good spool, and in a damaged one each file that was
// spoiled, of what lives as of what does not. Red without the calls in Verify.
func TestVerify(t *testing.T) {
	r := newRig(t, 1)
	held := r.send(1)
	r.send(1)
	for _, m := range r.tail() {
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
