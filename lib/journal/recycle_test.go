package journal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strings"
	"testing"

	"postrider/lib/slot"
)

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
