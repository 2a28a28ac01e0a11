package slot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"postrider/lib/mail"
)

// mem is a file in memory that counts what is read of it.
type mem struct {
	b    []byte
	read int64
	bad  int64 // reading the 4 KiB block at this offset fails; 0 for none
}

var errSector = errors.New("bad sector")

func (m *mem) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.b)) {
		return 0, io.EOF
	}
	if m.bad > 0 && off < m.bad+4096 && off+int64(len(p)) > m.bad {
		return 0, errSector
	}
	n := copy(p, m.b[off:])
	m.read += int64(n)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *mem) WriteAt(p []byte, off int64) (int, error) {
	if n := int(off) + len(p); n > len(m.b) {
		m.b = append(m.b, make([]byte, n-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}

// writer puts batches into a mem as the journal does.
type writer struct {
	*Encoder
	m    *mem
	recs []Record
}

func newWriter(t testing.TB, m *mem, number uint64) *writer {
	h := Header{Kind: Content, Number: number, Key: NewKey(), Created: 5}
	if err := WriteHeader(m, h); err != nil {
		t.Fatal(err)
	}
	return &writer{Encoder: NewEncoder(h), m: m}
}

func (w *writer) add(t testing.TB, id string, envelope, content []byte) {
	r := Record{Type: TypeMessage, Generation: 3, ID: mail.QueueID(id), Envelope: envelope, Content: content}
	want := w.End() + w.Size(len(id), len(envelope), len(content))
	if err := w.Append(&r); err != nil {
		t.Fatal(err)
	}
	if w.End() != want {
		t.Fatalf("Size said %d, End is %d", want, w.End())
	}
	w.recs = append(w.recs, r)
}

// commit writes the batch and, if sync, says that it is durable.
func (w *writer) commit(sync bool) (from, to int64) {
	b, off := w.Batch()
	w.m.WriteAt(b, off)
	w.Written()
	if sync {
		w.Synced(w.End())
	}
	return off, w.End()
}

// fill writes n batches of random records.
func (w *writer) fill(t testing.TB, rnd *rand.Rand, n int) {
	for i := range n {
		for k := range 1 + rnd.IntN(4) {
			c := make([]byte, rnd.IntN(9000))
			for j := range c {
				c[j] = byte(rnd.Uint32())
			}
			w.add(t, fmt.Sprintf("ID%dx%d", i, k), []byte(strings.Repeat("e", rnd.IntN(300))), c)
		}
		w.commit(true)
	}
}

func (w *writer) scanner() *Scanner { return NewScanner(w.m, w.Header(), int64(len(w.m.b))) }

// all reads to the end.
func all(t testing.TB, s *Scanner) (recs []Record, damage []*Damage) {
	for {
		r, err := s.Next()
		var d *Damage
		switch {
		case err == io.EOF:
			if _, again := s.Next(); again != io.EOF {
				t.Fatalf("after the end: %v", again)
			}
			return recs, damage
		case errors.As(err, &d):
			if !errors.Is(err, ErrDamage) || d.To <= d.From {
				t.Fatalf("strange damage: %v", err)
			}
			damage = append(damage, d)
		case err != nil:
			t.Fatal(err)
		default:
			c := *r
			c.Envelope, c.Content = bytes.Clone(r.Envelope), bytes.Clone(r.Content)
			recs = append(recs, c)
		}
	}
}

func same(a, b Record) bool {
	if !bytes.Equal(a.Envelope, b.Envelope) || !bytes.Equal(a.Content, b.Content) {
		return false
	}
	a.Envelope, a.Content, b.Envelope, b.Content = nil, nil, nil, nil
	return reflect.DeepEqual(a, b)
}

func check(t *testing.T, got, want []Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range got {
		if !same(got[i], want[i]) {
			t.Fatalf("record %d: got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

func TestRoundTrip(t *testing.T) {
	m := &mem{}
	w := newWriter(t, m, 7)
	w.fill(t, rand.New(rand.NewPCG(1, 1)), 300) // beyond a MiB
	w.add(t, "", nil, nil)
	w.add(t, strings.Repeat("x", maxID), bytes.Repeat([]byte("e"), 3<<20), nil) // beyond several
	w.add(t, "A", nil, []byte("behind"))
	w.commit(true)

	s := w.scanner()
	got, damage := all(t, s)
	check(t, got, w.recs)
	if len(damage) > 0 || s.Sealed() || s.Offset() != w.End() {
		t.Errorf("damage %v, sealed %v, end %d of %d", damage, s.Sealed(), s.Offset(), w.End())
	}
	w.Seal()
	w.Seal()
	w.commit(true)
	m.b = append(m.b, make([]byte, 1<<20)...) // written in advance
	s = w.scanner()
	got, _ = all(t, s)
	check(t, got, w.recs)
	if !s.Sealed() || s.Offset() != w.End() {
		t.Errorf("sealed %v, end %d of %d", s.Sealed(), s.Offset(), w.End())
	}
	h, err := ReadHeader(m)
	if err != nil || h != w.Header() {
		t.Errorf("header %+v, %v", h, err)
	}
	var buf []byte
	for _, want := range w.recs {
		var r Record
		if r, buf, err = ReadRecord(m, h, want.Offset, buf); err != nil || !same(r, want) {
			t.Fatalf("ReadRecord: %+v, %v", r, err)
		}
	}
	if _, _, err := ReadRecord(m, h, w.recs[3].Offset+Align, buf); !errors.Is(err, ErrDamage) {
		t.Errorf("a record inside another: %v", err)
	}
}

func TestTooLarge(t *testing.T) {
	w := newWriter(t, &mem{}, 1)
	end := w.End()
	if err := w.Append(&Record{Envelope: make([]byte, MaxEnvelope+1)}); !errors.Is(err, ErrTooLarge) || w.End() != end {
		t.Errorf("%v", err)
	}
}

func TestLazyTail(t *testing.T) {
	m := &mem{b: make([]byte, 1<<20)}
	w := newWriter(t, m, 7)
	rnd := rand.New(rand.NewPCG(2, 1))
	s := NewScanner(m, w.Header(), DataStart)
	s.Lazy = true
	n := 0
	for range 20 {
		w.fill(t, rnd, 3)
		s.Extend(w.End())
		got, damage := all(t, s)
		if len(damage) > 0 {
			t.Fatal(damage)
		}
		for _, r := range got {
			want := w.recs[n]
			if r.Content != nil || r.ContentSize != len(want.Content) || r.Ref != want.Ref || !bytes.Equal(r.Envelope, want.Envelope) {
				t.Fatalf("got %+v", r)
			}
			n++
		}
		if n != len(w.recs) {
			t.Fatalf("%d of %d records", n, len(w.recs))
		}
	}
}

// Any subset of the sectors of the last batch: never damage, and what is read
// is a prefix that holds all that was synced.
func TestTornBatch(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 1))
	for round := range 100 {
		m := &mem{b: make([]byte, 1<<20)}
		if round%2 == 0 { // an earlier life behind
			old := newWriter(t, m, 1)
			old.fill(t, rnd, 40)
		}
		w := newWriter(t, m, 2)
		w.fill(t, rnd, 10)
		safe := len(w.recs)
		before := bytes.Clone(m.b)
		for k := range 8 {
			w.add(t, fmt.Sprintf("last%d", k), []byte("e"), make([]byte, rnd.IntN(3000)))
		}
		if round%3 == 0 {
			w.Seal()
		}
		from, to := w.commit(false)
		for i := from &^ 511; i < to; i += 512 {
			if rnd.IntN(2) == 0 {
				copy(m.b[i:i+512], before[i:i+512])
			}
		}
		got, damage := all(t, w.scanner())
		if len(damage) > 0 {
			t.Fatalf("round %d: a power cut looks like damage: %v", round, damage[0])
		}
		if len(got) < safe {
			t.Fatalf("round %d: %d of %d synced records", round, len(got), safe)
		}
		check(t, got, w.recs[:len(got)])
	}
}

// Each block of the file lost in turn, as noise and as a read error: only
// records that lie in it suffer, and each is told of.
func TestEachBlock(t *testing.T) {
	m := &mem{}
	w := newWriter(t, m, 2)
	w.fill(t, rand.New(rand.NewPCG(4, 1)), 160)
	w.Seal()
	w.commit(true)
	m.b = append(m.b, make([]byte, 8192)...)
	for _, noise := range []bool{true, false} {
		for at := int64(0); at < w.End(); at += 4096 * (1 + at/65536%3) {
			block := bytes.Clone(m.b[at : at+4096])
			if noise {
				for i := range block {
					m.b[at+int64(i)] ^= 0x55
				}
			} else if at > 0 {
				m.bad = at
			}
			h, err := ReadHeader(m)
			if err != nil || h.Number != 2 || h.Key != w.Header().Key {
				t.Fatalf("block %d: header %+v, %v", at, h, err)
			}
			s := NewScanner(m, h, int64(len(m.b)))
			s.Durable = w.End()
			got, damage := all(t, s)
			var want []Record
			hit := map[Ref]Record{}
			for _, r := range w.recs {
				if r.Offset < at+4096 && at < r.End() {
					hit[r.Ref] = r
					continue
				}
				want = append(want, r)
			}
			// In a block that is hit, padding may be all that was lost.
			var kept []Record
			for _, r := range got {
				if _, ok := hit[r.Ref]; ok && same(r, hit[r.Ref]) {
					delete(hit, r.Ref)
					continue
				}
				kept = append(kept, r)
			}
			check(t, kept, want)
			for _, r := range hit {
				told := false
				for _, d := range damage {
					told = told || d.From <= r.Offset && r.End() <= d.To
					if !noise && !errors.Is(d, errSector) {
						t.Errorf("block %d: the read error is lost: %v", at, d)
					}
				}
				if !told {
					t.Fatalf("block %d: nobody tells of %v in %v", at, r.Ref, damage)
				}
			}
			copy(m.b[at:], block)
			m.bad = 0
		}
	}
}

// What cannot be read at the end of a file is not taken for a torn tail: it may
// be mail, and the next look may succeed.
func TestUnreadableTail(t *testing.T) {
	m := &mem{b: make([]byte, 64<<10)}
	w := newWriter(t, m, 2)
	w.add(t, "A", nil, bytes.Repeat([]byte("x"), 8000))
	w.commit(true)
	w.add(t, "B", nil, nil)
	w.commit(true)
	m.bad = w.recs[1].Offset &^ 4095
	got, damage := all(t, w.scanner())
	if last := len(damage) - 1; len(got) != 0 || last < 0 || !errors.Is(damage[last], errSector) || damage[last].To != m.bad+4096 {
		t.Errorf("%d records, %v", len(got), damage)
	}
}

// Content full of things that look like records and headers must not be taken
// for any, even when what holds it is damaged.
func TestImitation(t *testing.T) {
	old := &mem{}
	first := newWriter(t, old, 9)
	first.fill(t, rand.New(rand.NewPCG(5, 1)), 60)

	m := &mem{}
	w := newWriter(t, m, 9) // the same number, another key
	w.add(t, "before", nil, nil)
	align := make([]byte, 2*Align-headSize-len("evil")) // what is inside begins where records may
	w.add(t, "evil", align, old.b)
	w.add(t, "behind", nil, nil)
	w.commit(true)
	w.add(t, "later", nil, nil)
	w.commit(true)
	m.b[w.recs[1].Offset] ^= 1
	got, damage := all(t, w.scanner())
	check(t, got, []Record{w.recs[0], w.recs[2], w.recs[3]})
	if len(damage) != 1 || damage[0].From != w.recs[1].Offset || damage[0].To != w.recs[2].Offset {
		t.Errorf("%v", damage)
	}
	// A true copy of the file inside itself, shifted: own offsets tell.
	inside := bytes.Clone(m.b)
	w.add(t, "copy", align, inside)
	w.add(t, "end", nil, nil)
	w.commit(true)
	w.add(t, "end2", nil, nil)
	w.commit(true)
	m.b[w.recs[4].Offset+60] ^= 1
	got, damage = all(t, w.scanner())
	check(t, got, []Record{w.recs[0], w.recs[2], w.recs[3], w.recs[5], w.recs[6]})
	if len(damage) != 2 {
		t.Errorf("%v", damage)
	}
}

func TestFindHeader(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6, 1))
	m := &mem{}
	old := newWriter(t, m, 3)
	old.fill(t, rnd, 10)
	w := newWriter(t, m, 4)
	fake := Header{Kind: Content, Number: 5, Key: 77}
	for i := range 5 {
		w.fill(t, rnd, 150)
		if i == 2 { // a message that holds a header for each place it may be at
			var evil []byte
			for n := range int64(40) {
				f := fake
				f.Offset = w.End() + Align + n*HeaderSize
				evil = appendHeader(evil, &f)
			}
			w.add(t, "", nil, evil)
		}
	}
	w.Seal()
	w.commit(true)
	clear(m.b[:DataStart])
	if _, err := ReadHeader(m); !errors.Is(err, ErrBlank) {
		t.Errorf("%v", err)
	}
	m.b[100] = 1
	if _, err := ReadHeader(m); !errors.Is(err, ErrDamage) {
		t.Errorf("%v", err)
	}
	h, err := FindHeader(m, int64(len(m.b)))
	if err != nil || h != w.Header() {
		t.Fatalf("%+v, %v", h, err)
	}
	got, _ := all(t, NewScanner(m, h, int64(len(m.b))))
	check(t, got, w.recs)
	if _, err := FindHeader(&mem{b: make([]byte, 1<<20)}, 1<<20); !errors.Is(err, ErrDamage) {
		t.Errorf("%v", err)
	}
}

func TestUnknownVersion(t *testing.T) {
	m := &mem{}
	newWriter(t, m, 3)
	b := appendHeader(nil, &Header{Kind: Content, Number: 1, Key: 1})
	if _, err := decodeHeader(b); err != nil {
		t.Fatal(err)
	}
	m.WriteAt(futureHeader, 0)
	if _, err := ReadHeader(m); !errors.Is(err, ErrVersion) {
		t.Errorf("%v", err)
	}
}

// futureHeader is a header of version 2 with a good checksum.
var futureHeader = func() []byte {
	b := appendHeader(nil, &Header{Kind: Content, Number: 1, Key: 1})
	b[8] = 2
	sum := checksum(b[:headerLen-4])
	b[headerLen-4], b[headerLen-3], b[headerLen-2], b[headerLen-1] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
	return b
}()

// The search past damage reads a bounded multiple of the file, though all of
// it is made to look promising.
func TestLinear(t *testing.T) {
	m := &mem{}
	w := newWriter(t, m, 2)
	evil := bytes.Repeat([]byte(magic+strings.Repeat("x", 56)), 4096) // at each 64 bytes
	for range 40 {
		w.add(t, "", nil, evil)
		w.commit(true)
	}
	heads := 0
	for i, r := range w.recs {
		if i%2 == 0 {
			m.b[r.Offset+8] ^= 1 // the head
			heads++
		} else {
			m.b[r.Offset+headSize] ^= 1 // the content
		}
	}
	got, damage := all(t, w.scanner())
	// The last record's content is bad and nothing says that it was durable.
	if len(got) != 0 || len(damage) != len(w.recs)-1 {
		t.Errorf("%d records, %d damages of %d", len(got), len(damage), len(w.recs))
	}
	if m.read > 8*int64(len(m.b)) {
		t.Errorf("read %d bytes of a file of %d", m.read, len(m.b))
	}
}

func TestScanAllocates(t *testing.T) {
	m := &mem{}
	w := newWriter(t, m, 2)
	for range 1000 {
		w.add(t, "", []byte("envelope"), make([]byte, 100))
	}
	w.commit(true)
	if n := testing.AllocsPerRun(3, func() {
		s := w.scanner()
		for {
			if _, err := s.Next(); err != nil {
				break
			}
		}
	}); n > 20 {
		t.Errorf("%v allocations for 1000 records", n)
	}
	r := Record{ID: "4C1z1", Envelope: make([]byte, 100), Content: make([]byte, 4096)}
	if n := testing.AllocsPerRun(100, func() {
		w.Append(&r)
		w.Written()
	}); n != 0 {
		t.Errorf("%v allocations for an append", n)
	}
}

func TestPayloads(t *testing.T) {
	seals := []Seal{{1, DataStart}, {1 << 60, 1 << 40}}
	if got, err := DecodeSeals(AppendSeals(nil, seals)); err != nil || !reflect.DeepEqual(got, seals) {
		t.Errorf("%v, %v", got, err)
	}
	names := []Name{{"D1", Ref{3, 4}}, {"", Ref{1 << 50, 1<<32 - 1}}}
	if got, err := DecodeNames(AppendNames(nil, names)); err != nil || !reflect.DeepEqual(got, names) {
		t.Errorf("%v, %v", got, err)
	}
	l := Large{1 << 33, 1 << 31}
	if got, err := DecodeLarge(AppendLarge(nil, l)); err != nil || got != l {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzPayloads(f *testing.F) {
	f.Add(AppendSeals(nil, []Seal{{1, 2}}))
	f.Add(AppendNames(nil, []Name{{"D1", Ref{3, 4}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := DecodeSeals(b); err == nil {
			if again, err := DecodeSeals(AppendSeals(nil, v)); err != nil || !reflect.DeepEqual(v, again) {
				t.Errorf("%v, %v", again, err)
			}
		}
		if v, err := DecodeNames(b); err == nil {
			if again, err := DecodeNames(AppendNames(nil, v)); err != nil || !reflect.DeepEqual(v, again) {
				t.Errorf("%v, %v", again, err)
			}
		}
		DecodeLarge(b)
	})
}

// FuzzScanner overwrites parts of a good file and scans it: the scanner ends,
// never goes back, and gives only records that were written.
func FuzzScanner(f *testing.F) {
	m := &mem{}
	w := newWriter(f, m, 2)
	w.fill(f, rand.New(rand.NewPCG(7, 1)), 6)
	w.Seal()
	w.commit(true)
	good := map[Ref]Record{}
	for _, r := range w.recs {
		good[r.Ref] = r
	}
	f.Add([]byte{}, uint32(0), uint32(0), false)
	f.Add([]byte("xxxxxxxx"), uint32(0), uint32(30), true)
	f.Add(m.b[DataStart:DataStart+200], uint32(640), uint32(9000), false)
	f.Fuzz(func(t *testing.T, patch []byte, at, cut uint32, lazy bool) {
		b := bytes.Clone(m.b)
		copy(b[DataStart+int(at)%(len(b)-DataStart):], patch)
		b = b[:len(b)-int(cut)%(len(b)-DataStart)]
		s := NewScanner(&mem{b: b}, w.Header(), int64(len(m.b)))
		s.Lazy = lazy
		last := int64(0)
		for {
			r, err := s.Next()
			if err == io.EOF {
				break
			}
			if s.Offset() <= last {
				t.Fatalf("went from %d to %d", last, s.Offset())
			}
			last = s.Offset()
			if err != nil {
				if !errors.Is(err, ErrDamage) {
					t.Fatal(err)
				}
				continue
			}
			want := good[r.Ref]
			if lazy {
				want.Content = nil
			}
			if !same(*r, want) {
				t.Fatalf("a record nobody wrote: %+v", r)
			}
		}
		ReadHeader(&mem{b: b})
		FindHeader(&mem{b: b}, int64(len(b)))
	})
}
