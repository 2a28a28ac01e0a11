package journal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

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
