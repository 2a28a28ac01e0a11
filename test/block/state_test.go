package block

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"time"
)

// recording is a log of a disk, and the disk before it.
type recording struct {
	start   image
	log     []entry
	flushes []int // positions just behind a flush, from 0 on
}

func newRecording(start image, log []entry) *recording {
	r := &recording{start: start, log: log, flushes: []int{0}}
	for i := range log {
		if log[i].flush() {
			r.flushes = append(r.flushes, i+1)
		}
	}
	return r
}

// cut is a moment at which the power failed, and what became of the writes that no flush
// had followed.
type cut struct {
	pos  int
	seed uint64
}

// cuts chooses n of them, in the order of the log: each between two flushes, half of
// them right before the second, when most is at stake.
func (r *recording) cuts(n int, seed uint64) []cut {
	rnd := rand.New(rand.NewPCG(seed, 1))
	order := rnd.Perm(len(r.flushes))
	var cs []cut
	for i := range n {
		f := order[i%len(order)]
		end := len(r.log)
		if f+1 < len(r.flushes) {
			end = r.flushes[f+1] - 1
		}
		c := cut{end, rnd.Uint64()}
		if rnd.IntN(2) == 0 {
			c.pos = r.flushes[f] + rnd.IntN(end-r.flushes[f]+1)
		}
		cs = append(cs, c)
	}
	sort.Slice(cs, func(i, j int) bool { return cs[i].pos < cs[j].pos })
	return cs
}

// at returns the time of a position.
func (r *recording) at(pos int) time.Time { return r.log[max(pos-1, 0)].at }

// states goes through cuts and gives each its disk. What was flushed is there; of the
// rest some writes are, some are not, and some are there in parts, of 512 bytes or 4 KiB.
func (r *recording) states(cs []cut, f func(c cut, m image) error) error {
	base, done := slices.Clone(r.start), 0
	for _, c := range cs {
		last, _ := slices.BinarySearch(r.flushes, c.pos+1)
		for durable := r.flushes[last-1]; done < durable; done++ {
			if e := &r.log[done]; !e.flush() {
				base.write(e.data, e.off)
			}
		}
		m := slices.Clone(base)
		rnd := rand.New(rand.NewPCG(c.seed, 2))
		there := []int{0, 10, 50, 50, 90, 100}[rnd.IntN(6)] // percent of the writes
		torn := []int{0, 0, 20, 60}[rnd.IntN(4)]            // percent of the others
		whole, parts := 0, 0
		for i := done; i < c.pos; i++ {
			e := &r.log[i]
			switch {
			case rnd.IntN(100) < there:
				m.write(e.data, e.off)
				whole++
			case rnd.IntN(100) < torn:
				tear(m, e, rnd)
				parts++
			}
		}
		if err := f(c, m); err != nil {
			return fmt.Errorf("cut at %d of %d, seed %d, of %d writes since the last flush %d there and %d in parts: %w",
				c.pos, len(r.log), c.seed, c.pos-done, whole, parts, err)
		}
	}
	return nil
}

// tear does parts of a write.
func tear(m image, e *entry, rnd *rand.Rand) {
	unit := []int{sector, page}[rnd.IntN(2)]
	from, to := 0, len(e.data)
	switch rnd.IntN(3) {
	case 0: // the beginning
		to = rnd.IntN(len(e.data)/unit+1) * unit
	case 1: // the end
		from = rnd.IntN(len(e.data)/unit+1) * unit
	default: // any of it
		for at := 0; at < len(e.data); at += unit {
			if rnd.IntN(2) == 0 {
				m.write(e.data[at:min(at+unit, len(e.data))], e.off+int64(at))
			}
		}
		return
	}
	m.write(e.data[from:to], e.off+int64(from))
}
