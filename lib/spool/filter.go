package spool

import (
	"slices"

	"postrider/lib/slot"
)

// filter tells where in a run the state record of a message may be, so that one that
// is named by its id is found without reading every run: of each piece of the run it
// keeps a Bloom filter of the messages that the records are about, ten bits for each
// record. It is made while the run grows. A run from before a start has none until
// somebody searches it.
type filter struct {
	pieces []*piece
	n      int // records
}

const (
	pieceRecords = 1024
	pieceBits    = 10 * pieceRecords
	pieceProbes  = 4 // of a hundred pieces one is read in vain
)

type piece struct {
	from int64 // offset of its first record
	bits [pieceBits / 64]uint64
}

// add notes that the next record, at that offset, is about the message at ref.
func (f *filter) add(ref slot.Ref, offset int64) {
	if f.n%pieceRecords == 0 {
		f.pieces = append(f.pieces, &piece{from: offset})
	}
	f.n++
	p := f.pieces[len(f.pieces)-1]
	for h, i := spread(ref), 0; i < pieceProbes; h, i = h>>16, i+1 {
		b := h & 0xffff * pieceBits >> 16
		p.bits[b>>6] |= 1 << (b & 63)
	}
}

// may says whether a record in the piece may be about the message.
func (p *piece) may(ref slot.Ref) bool {
	for h, i := spread(ref), 0; i < pieceProbes; h, i = h>>16, i+1 {
		if b := h & 0xffff * pieceBits >> 16; p.bits[b>>6]>>(b&63)&1 == 0 {
			return false
		}
	}
	return true
}

// spread makes 64 evenly distributed bits of a reference (the finalizer of splitmix64).
func spread(ref slot.Ref) uint64 {
	h := ref.File<<32 ^ ref.File>>32 ^ uint64(ref.Slot)
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// view returns a copy for another goroutine, while the run may grow.
func (f *filter) view() *filter {
	if f == nil {
		return nil
	}
	v := &filter{pieces: slices.Clone(f.pieces), n: f.n}
	if n := len(v.pieces); n > 0 {
		last := *v.pieces[n-1]
		v.pieces[n-1] = &last
	}
	return v
}

// stretch is a part of a run.
type stretch struct{ from, to int64 }

// stretches are the parts of a run that ends at end in which one of the messages may be.
func (f *filter) stretches(wanted map[slot.Ref]bool, end int64) []stretch {
	var out []stretch
	if len(wanted) == 0 {
		return nil
	}
	for i, p := range f.pieces {
		to := end
		if i+1 < len(f.pieces) {
			to = f.pieces[i+1].from
		}
		for ref := range wanted {
			if !p.may(ref) {
				continue
			}
			if n := len(out); n > 0 && out[n-1].to == p.from {
				out[n-1].to = to
			} else {
				out = append(out, stretch{p.from, to})
			}
			break
		}
	}
	return out
}
