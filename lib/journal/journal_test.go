package journal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

const fileSize = 64 << 10

func newDisk(t testing.TB, seed uint64) *disk.Model {
	m := disk.NewModel(seed)
	for _, d := range []string{"incoming", "content", "maildrop"} {
		if err := m.Mkdir(d, 0o770); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	return m
}

// clock is moved by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func open(t testing.TB, fsys disk.FS, change func(*Options)) *Journal {
	t.Helper()
	o := Options{FS: fsys, FileSize: fileSize, Maildrop: "maildrop"}
	if change != nil {
		change(&o)
	}
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func message(id string, size int) *Message {
	c := bytes.Repeat([]byte(id+" "), size/(len(id)+1)+1)[:size]
	return &Message{Envelope: &mail.Envelope{ID: mail.QueueID(id), Sender: "a@b.c", Size: int64(size),
		Recipients: []mail.Recipient{{Address: "r@s.t"}}}, Content: c}
}

// submit appends and waits for the answer.
func submit(j *Journal, m *Message) (ref slot.Ref, err error) {
	c := make(chan struct{})
	j.Append(m, func(r slot.Ref, e error) { ref, err = r, e; close(c) })
	<-c
	return ref, err
}

// survivors reads the journal as its reader does: each file up to where the
// next one says that it ends. It fails on any damage.
func survivors(t testing.TB, fsys disk.FS) map[mail.QueueID]slot.Record {
	t.Helper()
	entries, err := fsys.ReadDir("incoming")
	if err != nil {
		t.Fatal(err)
	}
	type file struct {
		f disk.File
		h slot.Header
	}
	var files []file
	ends := map[uint64]int64{}
	for _, e := range entries {
		f, err := fsys.OpenFile("incoming/"+e.Name(), os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		h, err := slot.ReadHeader(f)
		if errors.Is(err, slot.ErrBlank) || h.Kind == slot.Free {
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", e.Name(), err)
		}
		files = append(files, file{f, h})
		r, _, err := slot.ReadRecord(f, h, slot.DataStart, nil)
		if err != nil || r.Type != slot.TypeSeal {
			continue
		}
		list, err := slot.DecodeSeals(r.Envelope)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			ends[s.File] = s.Length
		}
	}
	out := map[mail.QueueID]slot.Record{}
	numbers := map[uint64]bool{}
	for _, f := range files {
		if numbers[f.h.Number] {
			t.Fatalf("number %d is given twice", f.h.Number)
		}
		numbers[f.h.Number] = true
		size, ok := ends[f.h.Number]
		if !ok {
			size, _ = f.f.Size()
		}
		s := slot.NewScanner(f.f, f.h, size)
		s.Durable = ends[f.h.Number]
		for {
			r, err := s.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("a good disk looks damaged: %v", err)
			}
			if r.Type == slot.TypeMessage {
				c := *r
				c.Envelope, c.Content = bytes.Clone(r.Envelope), bytes.Clone(r.Content)
				out[r.ID] = c
			}
		}
	}
	return out
}

func wait(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestAppend(t *testing.T) {
	m := newDisk(t, 1)
	var mu sync.Mutex
	var durable slot.Position
	j := open(t, m, func(o *Options) {
		o.OnDurable = func(p slot.Position) {
			mu.Lock()
			defer mu.Unlock()
			if p.Compare(durable) < 0 {
				t.Errorf("durable went from %v to %v", durable, p)
			}
			durable = p
		}
	})
	var wg sync.WaitGroup
	refs := sync.Map{}
	for w := range 8 {
		wg.Go(func() {
			for i := range 40 {
				id := fmt.Sprintf("W%dx%d", w, i)
				ref, err := submit(j, message(id, 100*i))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				if durable.File < ref.File {
					t.Errorf("%v answered before it was durable (%v)", ref, durable)
				}
				mu.Unlock()
				if old, again := refs.LoadOrStore(ref, id); again {
					t.Errorf("%v for %s and %s", ref, old, id)
				}
			}
		})
	}
	wg.Wait()
	if j.Durable() != durable {
		t.Errorf("%v, %v", j.Durable(), durable)
	}
	if err := errors.Join(j.Close(), j.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := submit(j, message("late", 1)); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	got := survivors(t, m)
	if len(got) != 320 {
		t.Errorf("%d messages", len(got))
	}
	for id, r := range got {
		want := message(string(id), r.ContentSize)
		e, err := mail.DecodeEnvelope(r.Envelope)
		if err != nil || !bytes.Equal(r.Content, want.Content) || e.Size != int64(r.ContentSize) || e.ID != id {
			t.Errorf("%s: %+v, %v", id, e, err)
		}
		if was, _ := refs.Load(r.Ref); was != string(id) {
			t.Errorf("%v is %s, was answered as %v", r.Ref, id, was)
		}
	}
	if n := m.Calls(disk.OpSync); n > 320 {
		t.Errorf("%d syncs", n)
	}
}

// The power fails at each call in turn: what was acknowledged is there, what
// got 451 is not, nothing looks damaged, no number is given twice, and no file
// of maildrop is taken twice.
func TestPowerFailsAtEachCall(t *testing.T) {
	ends := 0
	for n := 0; ends < 3; n += 3 {
		m := newDisk(t, uint64(n))
		rnd := rand.New(rand.NewPCG(uint64(n), 9))
		acked, refused, taken := map[string]bool{}, map[string]bool{}, map[string]bool{}
		var mu sync.Mutex
		for life := range 3 {
			j, err := Open(Options{FS: m, FileSize: 20 << 10, Maildrop: "maildrop", Spares: 1})
			if err != nil {
				if !errors.Is(err, disk.ErrOff) {
					t.Fatal(err)
				}
			} else {
				for name := range taken {
					if _, err := m.Stat("maildrop/" + name); err != nil {
						continue
					}
					if _, ok := j.SeenMaildrop(name); !ok {
						t.Fatalf("cut at %d, life %d: %s would be sent twice", n, life, name)
					}
				}
				if life == 0 {
					m.StopAfter(n)
				} else if life == 1 {
					m.StopAfter(rnd.IntN(60))
				}
				var wg sync.WaitGroup
				for w := range 3 {
					size := rnd.IntN(3000)
					wg.Go(func() {
						for i := range 6 {
							id := fmt.Sprintf("L%dW%dx%d", life, w, i)
							msg := message(id, size)
							if w == 0 {
								name := "D" + id
								if f, err := m.OpenFile("maildrop/"+name, os.O_RDWR|os.O_CREATE, 0o600); err != nil || f.Sync() != nil || m.SyncDir("maildrop") != nil {
									return
								}
								msg.Envelope.Replaces.Maildrop = name
							}
							_, err := submit(j, msg)
							mu.Lock()
							if err == nil {
								acked[id] = true
								if w == 0 {
									taken["D"+id] = true
								}
							} else if errors.Is(err, ErrSync) {
								refused[id] = true
							} else if !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrFull) {
								t.Error(err)
							}
							mu.Unlock()
							if err == nil && w == 0 && i%2 == 0 && m.Remove("maildrop/D"+id) == nil {
								j.Forget("D" + id)
							}
						}
					})
				}
				wg.Wait()
				if life == 0 && !m.Stopped() {
					ends++
				}
				m.StopAfter(0) // nothing more
				m.Remove("x")
				j.Close()
			}
			m.PowerCut()
			got := survivors(t, m)
			for id := range acked {
				if _, ok := got[mail.QueueID(id)]; !ok {
					t.Fatalf("cut at %d, life %d: %s was acknowledged and is lost", n, life, id)
				}
			}
			for id := range refused {
				if _, ok := got[mail.QueueID(id)]; ok {
					t.Fatalf("cut at %d, life %d: %s was refused and is there", n, life, id)
				}
			}
		}
	}
}

// A sync or write fails at each place in turn, once or for a while; then comes
// a restart, with or without the machine.
func TestFailuresAtEachCall(t *testing.T) {
	var failed, unknown int
	for _, op := range []disk.Op{disk.OpSync, disk.OpWrite} {
		for k := range 40 {
			m := newDisk(t, uint64(k))
			c := &clock{t: time.Unix(1e9, 0)}
			j := open(t, m, func(o *Options) { o.FileSize = 20 << 10; o.Now = c.now })
			m.Fail(disk.Fault{Op: op, Prefix: "incoming/", After: k / 2, Forever: k%4 == 3, Err: syscall.EIO})
			result := map[string]error{}
			var mu sync.Mutex
			for i := range 20 {
				var wg sync.WaitGroup
				for w := range 3 {
					id := fmt.Sprintf("I%dx%d", i, w)
					wg.Add(1)
					j.Append(message(id, 800), func(_ slot.Ref, err error) {
						mu.Lock()
						defer mu.Unlock()
						result[id] = err
						wg.Done()
					})
				}
				wg.Wait()
				if k%5 == 0 && i < 15 && slices.ContainsFunc(slices.Collect(maps.Values(result)), func(err error) bool { return err != nil }) {
					break // ends at once after the answer
				}
				if i == 15 {
					m.Heal()
					c.add(2 * time.Second)
				}
			}
			if err := result["I19x0"]; err != nil && k%5 != 0 {
				t.Fatalf("%s %d: still failing when the disk is good again: %v", op, k, err)
			}
			switch k % 3 {
			case 0:
				m.Kill()
			case 1:
				m.Kill()
				m.Evict()
			case 2:
				m.PowerCut()
			}
			j.Close()
			got := survivors(t, m)
			for id, err := range result {
				_, there := got[mail.QueueID(id)]
				switch {
				case err == nil && !there:
					t.Fatalf("%s %d: %s acknowledged and lost", op, k, id)
				case errors.Is(err, ErrSync):
					failed++
					if there {
						t.Fatalf("%s %d: %s was refused and is there", op, k, id)
					}
				case errors.Is(err, ErrUnknown):
					unknown++
				case err != nil:
					t.Fatal(err)
				}
			}
		}
	}
	if failed < 50 || unknown < 10 {
		t.Errorf("%d refused, %d unknown: too few to prove anything", failed, unknown)
	}
}

// After a failed sync the file is not touched by any further write or sync.
func TestFailedFileIsLeftAlone(t *testing.T) {
	m := newDisk(t, 1)
	j := open(t, m, nil)
	wait(t, "a spare", j.k.hasSpare)
	j.Close()
	j = open(t, m, nil)
	ref, err := submit(j, message("A", 10))
	if err != nil {
		t.Fatal(err)
	}
	m.Fail(disk.Fault{Op: disk.OpSync, Prefix: "incoming/" + j.c.name, Err: syscall.EIO})
	if _, err := submit(j, message("B", 10)); !errors.Is(err, ErrSync) || !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	// Its bytes can be seen, but are cut off by the time the answer is there.
	if got := survivors(t, m); len(got) != 1 || got["B"].ID != "" {
		t.Errorf("refused and there: %v", got)
	}
	name := nameOf(t, m, ref.File)
	m.Fail(disk.Fault{Op: disk.OpSync, Prefix: name, Forever: true, Err: errors.New("synced again")})
	m.Fail(disk.Fault{Op: disk.OpWrite, Prefix: name, Forever: true, Err: errors.New("written again")})
	after, err := submit(j, message("C", 10))
	if err != nil || after.File <= ref.File {
		t.Fatalf("%v, %v", after, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	m.Heal()
	m.Evict()
	got := survivors(t, m)
	if len(got) != 2 || got["B"].ID != "" {
		t.Errorf("%v", got)
	}
}

func nameOf(t *testing.T, m *disk.Model, number uint64) string {
	t.Helper()
	entries, _ := m.ReadDir("incoming")
	for _, e := range entries {
		f, err := m.OpenFile("incoming/"+e.Name(), os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		h, err := slot.ReadHeader(f)
		f.Close()
		if err == nil && h.Number == number && h.Kind == slot.Content {
			return "incoming/" + e.Name()
		}
	}
	t.Fatalf("no file %d", number)
	return ""
}

// free does what qmgr does with a file whose messages are all finished.
func free(t testing.TB, m disk.FS, name string) {
	t.Helper()
	f, err := m.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := slot.ReadHeader(f)
	if err != nil {
		t.Fatal(err)
	}
	h.Kind = slot.Free
	if err := errors.Join(slot.WriteHeader(f, h), f.Sync()); err != nil {
		t.Fatal(err)
	}
}

// A recycled file keeps its name and its size, has a new number and key, and
// what was in it never shows, even past a torn batch. Numbers only rise.
func TestRecycle(t *testing.T) {
	m := newDisk(t, 1)
	j := open(t, m, func(o *Options) { o.SizeLimit = 10 * fileSize })
	used := map[uint64]string{}
	var last uint64
	lives := map[string]int{}
	for i := range 400 {
		ref, err := submit(j, message(fmt.Sprintf("I%d", i), 3000))
		if err != nil {
			t.Fatal(err)
		}
		if ref.File != last {
			if ref.File < last {
				t.Fatalf("number %d after %d", ref.File, last)
			}
			if last > 0 {
				name := used[last]
				free(t, m, name)
				j.Recycle(strings.TrimPrefix(name, "incoming/"))
				j.Recycle(strings.TrimPrefix(name, "incoming/")) // said twice
			}
			wait(t, "a spare", j.k.hasSpare)
			last = ref.File
			used[last] = nameOf(t, m, last)
			lives[used[last]]++
		}
	}
	reused := 0
	for _, n := range lives {
		if n > 1 {
			reused++
		}
	}
	if reused == 0 {
		t.Errorf("no file had a second life: %v", lives)
	}
	if u, _ := j.Usage(); u > fileSize+fileSize/2 {
		t.Errorf("%d bytes in use", u)
	}
	m.Kill()
	j.Close()
	for id, r := range survivors(t, m) {
		if r.Ref.File != last {
			t.Errorf("%s of file %d is back", id, r.Ref.File)
		}
	}
	j = open(t, m, nil)
	if j.First() <= last {
		t.Errorf("number %d after %d", j.First(), last)
	}
	j.Recycle("../content/x")
	alive := strings.TrimPrefix(used[last], "incoming/")
	j.Recycle(alive) // not free: left alone
	wait(t, "the keeper has looked", func() bool { j.k.mu.Lock(); defer j.k.mu.Unlock(); return j.k.files[alive] == living })
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if len(survivors(t, m)) == 0 {
		t.Error("a living file was taken")
	}
}

// The number of the highest file is not given again though its header is lost,
// whether a copy is left (in a sealed file) or none.
func TestLostHeader(t *testing.T) {
	for _, sealed := range []bool{true, false} {
		t.Run(fmt.Sprintf("sealed=%v", sealed), func(t *testing.T) { lostHeader(t, sealed) })
	}
}

func lostHeader(t *testing.T, sealed bool) {
	m := newDisk(t, 1)
	var highest uint64
	j := open(t, m, nil)
	for i := range 60 {
		ref, err := submit(j, message(fmt.Sprintf("I%d", i), 3000))
		if err != nil {
			t.Fatal(err)
		}
		highest = ref.File
	}
	if !sealed {
		m.Kill()
	}
	j.Close()
	m.Flip(nameOf(t, m, highest), 0, slot.DataStart)
	j = open(t, m, nil)
	if j.First() <= highest {
		t.Errorf("number %d after %d", j.First(), highest)
	}
	j.Close()
	j = open(t, m, func(o *Options) { o.Above = 1 << 40 })
	if j.First() <= 1<<40 {
		t.Errorf("number %d", j.First())
	}
	j.Close()
}

func TestUnknownVersion(t *testing.T) {
	m := newDisk(t, 1)
	f, err := m.OpenFile("incoming/000001", os.O_RDWR|os.O_CREATE, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	slot.WriteHeader(f, slot.Header{Kind: slot.Content, Number: 1, Key: 1})
	b := make([]byte, 72)
	f.ReadAt(b, 0)
	b[8]++
	sum := crc32.Checksum(b[:68], castagnoli)
	copy(b[68:], []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)})
	f.WriteAt(b, 0)
	if _, err := Open(Options{FS: m, FileSize: fileSize}); !errors.Is(err, slot.ErrVersion) {
		t.Errorf("%v", err)
	}
}

// Spares are whole files of zeros with a free header; one that was left half
// made is finished, a living one that is blank at its head is not touched.
func TestSpares(t *testing.T) {
	m := newDisk(t, 1)
	for name, tail := range map[string]string{"000001": "", "000002": "someone's mail"} {
		f, _ := m.OpenFile("incoming/"+name, os.O_RDWR|os.O_CREATE, 0o660)
		f.WriteAt(make([]byte, 10<<10), 0)
		f.WriteAt([]byte(tail), 10<<10)
		f.Close()
	}
	j := open(t, m, nil)
	wait(t, "two spares", func() bool { j.k.mu.Lock(); defer j.k.mu.Unlock(); return len(j.k.spares) >= 2 })
	if j.First() <= numberGap {
		t.Errorf("number %d, though that of 000002 is not known", j.First())
	}
	j.Close()
	entries, _ := m.ReadDir("incoming")
	spares := 0
	for _, e := range entries {
		f, _ := m.OpenFile("incoming/"+e.Name(), os.O_RDONLY, 0)
		h, err := slot.ReadHeader(f)
		size, _ := f.Size()
		f.Close()
		if e.Name() == "000002" && (!errors.Is(err, slot.ErrBlank) || size != 10<<10+14) {
			t.Errorf("mail was overwritten: %+v, %v, %d", h, err, size)
		}
		if err == nil && h.Kind == slot.Free {
			spares++
			if size != fileSize {
				t.Errorf("%s has %d bytes", e.Name(), size)
			}
		}
		if st, _ := m.Stat("incoming/" + e.Name()); st.Mode().Perm() != 0o660 {
			t.Errorf("%s: mode %v", e.Name(), st.Mode())
		}
	}
	if spares != 2 {
		t.Errorf("%d spares", spares)
	}
	used := len(j.k.files)
	j = open(t, m, nil)
	if j.c.quick || len(j.k.files) != used {
		t.Error("a spare was there and was not taken")
	}
	j.Close()
}

func TestLarge(t *testing.T) {
	m := newDisk(t, 3)
	j := open(t, m, func(o *Options) { o.InlineLimit = 1000 })
	if _, err := submit(j, message("A", 1001)); !errors.Is(err, slot.ErrTooLarge) {
		t.Error(err)
	}
	body := bytes.Repeat([]byte("0123456789"), 10000)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			id := mail.QueueID(fmt.Sprintf("BIG%d", i))
			l, err := j.NewLarge(id)
			if err != nil {
				t.Error(err)
				return
			}
			for c := range slices.Chunk(body, 3333) {
				if _, err := l.Write(c); err != nil {
					t.Error(err)
				}
			}
			msg := &Message{Envelope: &mail.Envelope{ID: id}, Large: l}
			if _, err := submit(j, msg); err == nil {
				t.Error("taken before it was durable")
			}
			if err := l.Commit(); err != nil || l.Size() != int64(len(body)) {
				t.Error(err)
			}
			if i%4 == 3 {
				l.Abort()
			}
			if _, err := submit(j, msg); (err == nil) != (i%4 != 3) {
				t.Error(i, err)
			}
		})
	}
	wg.Wait()
	j.k.poke()
	wait(t, "a true count of what is used", func() bool {
		u, _ := j.Usage()
		return u >= 15*int64(len(body)) && u < 16*int64(len(body))
	})
	if _, err := j.NewLarge("../x"); !errors.Is(err, ErrSync) {
		t.Error(err)
	}
	m.Fail(disk.Fault{Op: disk.OpSync, Prefix: "content/", Err: syscall.EIO})
	l, err := j.NewLarge("BAD")
	if err != nil {
		t.Fatal(err)
	}
	l.Write(body)
	if err := l.Commit(); !errors.Is(err, ErrSync) {
		t.Error(err)
	}
	if _, err := m.Stat("content/BAD"); err == nil {
		t.Error("the failed file is still there")
	}
	m.PowerCut()
	j.Close()
	got := survivors(t, m)
	if len(got) != 15 {
		t.Errorf("%d messages", len(got))
	}
	for id, r := range got {
		l, err := slot.DecodeLarge(r.Content)
		f, ferr := m.OpenFile("content/"+string(id), os.O_RDONLY, 0)
		if err != nil || ferr != nil || r.Flags&slot.FlagLarge == 0 {
			t.Fatal(err, ferr, r.Flags)
		}
		b := make([]byte, len(body))
		if _, err := f.ReadAt(b, 0); err != nil || crc32.Checksum(b, castagnoli) != l.CRC || l.Size != int64(len(b)) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestFull(t *testing.T) {
	m := newDisk(t, 1)
	c := &clock{t: time.Unix(1e9, 0)}
	j := open(t, m, func(o *Options) { o.SizeLimit = 3 * fileSize; o.Now = c.now })
	n := 0
	for ; n < 1000; n++ {
		if _, err := submit(j, message(fmt.Sprintf("I%d", n), 3000)); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	if n < 30 || n > 100 {
		t.Errorf("full after %d messages", n)
	}
	if _, err := j.NewLarge("L"); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	if used, limit := j.Usage(); used < limit {
		t.Errorf("%d of %d", used, limit)
	}
	report := message("R1", 1000)
	report.Envelope.Replaces.ID = "I1"
	if _, err := submit(j, report); err != nil {
		t.Errorf("a report that takes a recipient over: %v", err)
	}
	j.Close()
	j = open(t, m, func(o *Options) { o.Now = c.now; o.MinFree = 1 << 62 }) // the reserve is touched
	c.add(2 * time.Second)
	if _, err := submit(j, message("V", 1)); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	report.Envelope.ID = "R2"
	if _, err := submit(j, report); err != nil {
		t.Errorf("a report that takes a recipient over: %v", err)
	}
	j.Close()
	j = open(t, m, func(o *Options) { o.Now = c.now })
	m.SetCapacity(1) // the reserve is gone
	c.add(2 * time.Second)
	if _, err := submit(j, message("X", 1)); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	report.Envelope.ID = "R3"
	if _, err := submit(j, report); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	m.SetCapacity(0)
	c.add(2 * time.Second)
	if _, err := submit(j, message("Y", 1)); err != nil {
		t.Error(err)
	}
	j.Close()
}

// A full disk in the middle of a batch refuses it and loses nothing.
func TestNoSpaceLeft(t *testing.T) {
	m := newDisk(t, 1)
	j := open(t, m, nil)
	m.Fail(disk.Fault{Op: disk.OpWrite, Prefix: "incoming/", Err: syscall.ENOSPC})
	wait(t, "a message is refused", func() bool {
		_, err := submit(j, message("A", 10))
		return errors.Is(err, ErrSync) || m.Calls(disk.OpWrite) > 30
	})
	if _, err := submit(j, message("B", 10)); err != nil {
		t.Error(err)
	}
	j.Close()
}

// What is said to be durable can be read: a reader takes anything else for damage.
func TestDurableIsThere(t *testing.T) {
	m := newDisk(t, 1)
	var j *Journal
	told := 0
	check := func(p slot.Position) {
		told++
		f, err := m.OpenFile(nameOf(t, m, p.File), os.O_RDONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		h, err := slot.ReadHeader(f)
		if err != nil {
			t.Error(err)
		}
		s := slot.NewScanner(f, h, p.Offset)
		s.Durable = p.Offset
		for err == nil {
			_, err = s.Next()
		}
		if err != io.EOF {
			t.Errorf("durable to %v: %v", p, err)
		}
	}
	j = open(t, m, func(o *Options) { o.FileSize = 20 << 10; o.OnDurable = check })
	for i := range 30 {
		if _, err := submit(j, message(fmt.Sprintf("I%d", i), 3000)); err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	if told < 30 {
		t.Errorf("told %d times", told)
	}
}

// Names that stay in maildrop outlive any number of files and restarts, also
// of lives that wrote nothing.
func TestMaildropNames(t *testing.T) {
	m := newDisk(t, 1)
	for _, n := range []string{"D1", "D2"} {
		if _, err := m.OpenFile("maildrop/"+n, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j := open(t, m, func(o *Options) { o.FileSize = 20 << 10 })
	msg := message("FIRST", 10)
	msg.Envelope.Replaces.Maildrop = "D1"
	want, err := submit(j, msg)
	if err != nil {
		t.Fatal(err)
	}
	for life := range 5 {
		for i := range 20 {
			if life == 2 {
				break
			}
			if _, err := submit(j, message(fmt.Sprintf("L%dx%d", life, i), 3000)); err != nil {
				t.Fatal(err)
			}
		}
		m.PowerCut()
		j.Close()
		for range 4 { // begun and cut at once
			j = open(t, m, func(o *Options) { o.FileSize = 20 << 10 })
			if got, ok := j.SeenMaildrop("D1"); !ok || got != want {
				t.Fatalf("life %d: %v, %v", life, got, ok)
			}
			if _, ok := j.SeenMaildrop("D2"); ok {
				t.Fatal("a name nobody journaled")
			}
			if life < 4 {
				m.PowerCut()
				j.Close()
			}
		}
		if life < 4 {
			j = open(t, m, func(o *Options) { o.FileSize = 20 << 10 })
		}
	}
	if err := m.Remove("maildrop/D1"); err != nil {
		t.Fatal(err)
	}
	j.Forget("D1")
	if _, ok := j.SeenMaildrop("D1"); ok {
		t.Error("not forgotten")
	}
	j.Close()
	j = open(t, m, nil)
	if len(j.names.all) != 0 {
		t.Errorf("%v", j.names.all)
	}
	j.Close()
}

// A name that was removed, forgotten and left behind by two files does not come
// back with a power cut.
func TestMaildropRemovalIsDurable(t *testing.T) {
	for seed := range uint64(20) {
		m := newDisk(t, seed)
		if _, err := m.OpenFile("maildrop/D1", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := m.SyncDir("maildrop"); err != nil {
			t.Fatal(err)
		}
		j := open(t, m, func(o *Options) { o.FileSize = 20 << 10 })
		msg := message("FIRST", 10)
		msg.Envelope.Replaces.Maildrop = "D1"
		if _, err := submit(j, msg); err != nil {
			t.Fatal(err)
		}
		if err := m.Remove("maildrop/D1"); err != nil {
			t.Fatal(err)
		}
		j.Forget("D1")
		for i := range 20 {
			if _, err := submit(j, message(fmt.Sprintf("I%d", i), 3000)); err != nil {
				t.Fatal(err)
			}
		}
		m.PowerCut()
		j.Close()
		if _, err := m.Stat("maildrop/D1"); err == nil {
			t.Fatalf("seed %d: it is back", seed)
		}
	}
}

// A name whose file is removed while the file of the journal that has it ends, and is
// freed at once because its mail is delivered, does not come back with a power cut.
func TestMaildropNameOfFreedFile(t *testing.T) {
	for seed := range uint64(20) {
		m := newDisk(t, seed)
		if _, err := m.OpenFile("maildrop/D1", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := m.SyncDir("maildrop"); err != nil {
			t.Fatal(err)
		}
		j := open(t, m, func(o *Options) { o.FileSize = 20 << 10 })
		msg := message("FIRST", 10)
		msg.Envelope.Replaces.Maildrop = "D1"
		want, err := submit(j, msg)
		if err != nil {
			t.Fatal(err)
		}
		name := nameOf(t, m, want.File)
		for i := 0; j.Durable().File == want.File; i++ {
			if _, err := submit(j, message(fmt.Sprintf("I%d", i), 3000)); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Remove("maildrop/D1"); err != nil {
			t.Fatal(err)
		}
		j.Forget("D1")
		free(t, m, name)
		j.Recycle(strings.TrimPrefix(name, "incoming/"))
		m.PowerCut()
		j.Close()
		_, err = m.Stat("maildrop/D1")
		j = open(t, m, nil)
		if _, ok := j.SeenMaildrop("D1"); err == nil && !ok {
			t.Fatalf("seed %d: it is back and nobody knows it", seed)
		}
		j.Close()
	}
}

// A name that a dead writer left in the cache counts only once it is durable.
func TestMaildropNameOfDeadWriter(t *testing.T) {
	for seed := range uint64(20) {
		m := newDisk(t, seed)
		if _, err := m.OpenFile("maildrop/D1", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			t.Fatal(err)
		}
		j := open(t, m, nil)
		wait(t, "two spares", func() bool { j.k.mu.Lock(); defer j.k.mu.Unlock(); return len(j.k.spares) == 2 })
		msg := message("FIRST", 3000)
		msg.Envelope.Replaces.Maildrop = "D1"
		m.StopAfter(1) // the write, not the sync
		if _, err := submit(j, msg); !errors.Is(err, ErrUnknown) {
			t.Fatal(err)
		}
		m.Kill()
		j.Close()
		j = open(t, m, nil)
		if _, ok := j.SeenMaildrop("D1"); !ok {
			t.Fatal("written, read, but not seen")
		}
		m.PowerCut()
		j.Close()
		if _, ok := survivors(t, m)["FIRST"]; !ok {
			t.Fatalf("seed %d: the name was seen and the message is lost", seed)
		}
	}
}

// The same when the dead writer's sync had failed: a later sync makes nothing of
// that durable. Red without disk.Rewrite in names.read.
func TestMaildropNameAfterFailedSync(t *testing.T) {
	for seed := range uint64(20) {
		m := newDisk(t, seed)
		if _, err := m.OpenFile("maildrop/D1", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			t.Fatal(err)
		}
		j := open(t, m, nil)
		wait(t, "two spares", func() bool { j.k.mu.Lock(); defer j.k.mu.Unlock(); return len(j.k.spares) == 2 })
		msg := message("FIRST", 3000)
		msg.Envelope.Replaces.Maildrop = "D1"
		m.Fail(disk.Fault{Op: disk.OpSync, Prefix: "incoming/", Forever: true, Err: syscall.EIO})
		if _, err := submit(j, msg); !errors.Is(err, ErrUnknown) {
			t.Fatal(err)
		}
		m.Kill()
		j.Close()
		m.Heal()
		j = open(t, m, nil)
		if _, ok := j.SeenMaildrop("D1"); !ok {
			t.Fatal("written, read, but not seen")
		}
		m.PowerCut()
		j.Close()
		if _, ok := survivors(t, m)["FIRST"]; !ok {
			t.Fatalf("seed %d: the name was seen and the message is lost", seed)
		}
	}
}

// A huge envelope goes into a file that grows for it.
func TestHugeEnvelope(t *testing.T) {
	m := newDisk(t, 1)
	j := open(t, m, nil)
	msg := message("HUGE", 10)
	for i := range 20000 {
		msg.Envelope.Recipients = append(msg.Envelope.Recipients, mail.Recipient{Address: mail.Address(fmt.Sprintf("recipient%d@example.org", i))})
	}
	for _, x := range []*Message{message("A", 10), msg, message("B", 10)} {
		if _, err := submit(j, x); err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	got := survivors(t, m)
	e, err := mail.DecodeEnvelope(got["HUGE"].Envelope)
	if len(got) != 3 || err != nil || len(e.Recipients) != 20001 {
		t.Errorf("%d messages, %v", len(got), err)
	}
}

// A message in flight costs nothing but what its caller makes.
func TestAppendAllocates(t *testing.T) {
	fsys := disk.OS(t.TempDir())
	for _, d := range []string{"incoming", "content"} {
		if err := fsys.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	j := open(t, fsys, func(o *Options) { o.FileSize = 16 << 20; o.MinFree = 1; o.Maildrop = "" })
	defer j.Close()
	wait(t, "the keeper has no more to do", func() bool {
		j.k.mu.Lock()
		defer j.k.mu.Unlock()
		return len(j.k.spares) >= 2 && len(j.k.wake) == 0
	})
	c := make(chan error, 1)
	done := func(_ slot.Ref, err error) { c <- err }
	m := message("4C1xyzW1Bcdz1", 4096)
	one := func() {
		j.Append(m, done)
		if err := <-c; err != nil {
			t.Error(err)
		}
	}
	for range 10 {
		one()
	}
	if n := testing.AllocsPerRun(200, one); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
