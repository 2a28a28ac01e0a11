package spool

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// envWrite has TestSpoolsOfBefore write today's spool beside those of before; to be set
// once for each change of a format, and what it wrote checked in.
const envWrite = "POSTRIDER_WRITE_SPOOL"

// old is what a spool in testdata/ holds, beside its files.
type old struct {
	Wall                                 time.Time
	Deferred, Logged, Held, Active, New  string // queue ids
	Half                                 string // its first recipient of three is done
	Large                                string
	Finished, Deleted                    string
	Envelopes                            map[string]*mail.Envelope
	Contents                             map[string]string
	LargeContent                         string
	DeferredDue, LoggedDue, DeferredText string // of Deferred and Logged: RFC 3339, the last reply
}

// A queue directory that an earlier version wrote is read by this one: testdata/ has one
// for each version of the format that was ever released. Every state a message can have is
// in it: delivered are those and only those that were not, with the envelope and the content
// that they had.
func TestSpoolsOfBefore(t *testing.T) {
	if name := os.Getenv(envWrite); name != "" {
		writeSpool(t, filepath.Join("testdata", name))
	}
	dirs, err := filepath.Glob("testdata/*.tar.gz")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no spools in testdata/: %v", err)
	}
	for _, name := range dirs {
		t.Run(filepath.Base(name), func(t *testing.T) { readSpool(t, name) })
	}
}

// writeSpool writes a spool as a crash leaves it: parts in the checkpoint, parts in the log
// or the journal alone.
func writeSpool(t *testing.T, name string) {
	r := newRig(t, 1)
	o := old{Envelopes: map[string]*mail.Envelope{}, Contents: map[string]string{}}
	send := func(rcpts int) string {
		e := r.envelope(rcpts)
		e.Recipients[0].Original = "original@example.org"
		e.Recipients[0].ORCPT = "rfc822;original@example.org"
		content := "Subject: of before\r\n\r\ncontent of " + string(e.ID) + "\r\n"
		e.Size = int64(len(content))
		r.w.add(e, []byte(content))
		r.w.sync()
		o.Envelopes[string(e.ID)], o.Contents[string(e.ID)] = e, content
		return string(e.ID)
	}
	o.Deferred, o.Held, o.Half, o.Deleted = send(2), send(1), send(3), send(1)
	ms := r.tail()
	r.deferAll(ms[0], 20*time.Minute)
	r.deferAll(ms[1], time.Minute)
	r.q.Done(ms[2].Ref, 0)
	ms[2].State.Done.Add(0)
	r.deferAll(ms[2], 30*time.Minute)
	r.deferAll(ms[3], time.Minute)
	r.q.Hold(r.targets(o.Held))
	r.sync()
	r.checkpoint()
	o.Logged, o.Finished, o.Active = send(1), send(1), send(1)
	o.Large = writeLarge(r, &o)
	ms = r.tail()
	r.deferAll(ms[0], 10*time.Minute)
	r.q.Finish(ms[1])
	r.q.Delete(r.targets(o.Deleted))
	r.sync()
	o.New = send(1)
	items := r.items()
	o.DeferredDue, o.LoggedDue = items[o.Deferred].Due.UTC().Format(time.RFC3339), items[o.Logged].Due.UTC().Format(time.RFC3339)
	o.DeferredText = items[o.Deferred].Recipients[0].Status.Text
	o.Wall = r.wall
	r.settle()
	r.stop()

	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	about, err := json.MarshalIndent(&o, "", "\t")
	put := func(name string, data []byte, err error) {
		if err == nil {
			err = w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data))})
		}
		if _, werr := w.Write(data); err != nil || werr != nil {
			t.Fatal(errors.Join(err, werr))
		}
	}
	put(aboutFile, about, err)
	var walk func(dir string)
	walk = func(dir string) {
		es, err := r.disk.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range es {
			if name := path.Join(dir, e.Name()); e.IsDir() {
				walk(name)
			} else {
				data, err := disk.ReadAll(r.disk, name, 0)
				put(name, data, err)
			}
		}
	}
	walk(".")
	if err := errors.Join(w.Close(), z.Close(), os.WriteFile(name, b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}

const aboutFile = "about.json"

func writeLarge(r *rig, o *old) string {
	e := r.envelope(1)
	content := bytes.Repeat([]byte("large content\r\n"), 1000)
	o.LargeContent, e.Size = string(content), int64(len(content))
	o.Envelopes[string(e.ID)] = e
	f, err := r.q.create(dirContent + "/" + string(e.ID))
	if err != nil {
		r.t.Fatal(err)
	}
	f.WriteAt(content, 0)
	f.Sync()
	f.Close()
	r.disk.SyncDir(dirContent)
	large := slot.Large{Size: int64(len(content)), CRC: crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli))}
	if err := r.w.enc.Append(&slot.Record{Type: slot.TypeMessage, Flags: slot.FlagLarge, ID: e.ID, Envelope: mail.AppendEnvelope(nil, e), Content: slot.AppendLarge(nil, large)}); err != nil {
		r.t.Fatal(err)
	}
	b, off := r.w.enc.Batch()
	r.w.f.WriteAt(b, off)
	r.w.enc.Written()
	r.w.sync()
	return string(e.ID)
}

// unpack puts the files of a spool on a model disk.
func unpack(t *testing.T, name string) (*disk.Model, *old) {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	m, o := disk.NewModel(1), &old{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return m, o
		}
		b, rerr := io.ReadAll(r)
		if err != nil || rerr != nil {
			t.Fatal(errors.Join(err, rerr))
		}
		if h.Name == aboutFile {
			if err := json.Unmarshal(b, o); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := m.Mkdir(path.Dir(h.Name), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		d, err := m.OpenFile(h.Name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.WriteAt(b, 0)
		if err := errors.Join(err, d.Sync(), d.Close(), m.SyncDir(path.Dir(h.Name))); err != nil {
			t.Fatal(err)
		}
	}
}

func readSpool(t *testing.T, name string) {
	m, o := unpack(t, name)
	r := newRig(t, 1)
	r.stop()
	r.disk, r.o.FS, r.wall, r.seen = m, m, o.Wall, nil
	r.start()
	items := r.items()
	for id, where := range map[string]string{o.Deferred: InDeferred, o.Logged: InDeferred, o.Half: InDeferred, o.Held: InHold} {
		if it := items[id]; it == nil || it.Queue != where {
			t.Fatalf("%s is not in %s: %+v", id, where, it)
		}
	}
	if it := items[o.Deferred]; it.Due.UTC().Format(time.RFC3339) != o.DeferredDue || it.Recipients[0].Status.Text != o.DeferredText || it.Recipients[0].Attempts != 1 {
		t.Errorf("deferred: %+v; want %+v", it, o)
	}
	if it := items[o.Logged]; it.Due.UTC().Format(time.RFC3339) != o.LoggedDue {
		t.Errorf("deferred in the log: %+v; want %+v", it, o)
	}
	r.expect("due at once", r.due())
	out := r.tail()
	r.expect("in the journal", out, o.Active, o.Large, o.New)
	r.q.Release(r.targets(o.Held))
	r.sync()
	r.settle()
	r.pass(time.Hour)
	out = append(out, r.due()...)
	r.expect("all", out, o.Active, o.Large, o.New, o.Deferred, o.Logged, o.Half, o.Held)
	for _, m := range out {
		id := string(m.Envelope.ID)
		if want := o.Envelopes[id]; !reflect.DeepEqual(zone(m.Envelope), zone(want)) {
			t.Errorf("envelope of %s:\n%+v, not\n%+v", id, m.Envelope, want)
		}
		if half := m.State.Done.Has(0); half != (id == o.Half) {
			t.Errorf("%s: first recipient done: %v", id, half)
		}
		if id == o.Large {
			f, err := r.q.OpenLarge(m)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, len(o.LargeContent))
			if _, err := f.ReadAt(b, 0); err != nil || string(b) != o.LargeContent || m.CRC != crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) {
				t.Errorf("large content: %v", err)
			}
			f.Close()
		} else if b, _, err := r.q.ReadContent(m, nil); err != nil || string(b) != o.Contents[id] {
			t.Errorf("content of %s: %q, %v", id, b, err)
		}
		r.q.Finish(m)
	}
	r.sync()
	r.kill()
	r.expect("after all", append(r.tail(), r.due()...))
	if c := r.corrupt(); len(c) > 0 {
		t.Errorf("in corrupt/: %v", c)
	}
}

// zone is an envelope that can be compared: times in UTC.
func zone(e *mail.Envelope) *mail.Envelope {
	c := *e
	c.Arrival = c.Arrival.UTC()
	return &c
}
