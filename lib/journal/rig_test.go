package journal

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
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
