package extract

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/journal"
	"postrider/lib/mail"
	"postrider/lib/maildrop"
	"postrider/lib/slot"
	"postrider/lib/spool"
)

// fixture is a spool with a message that was never deferred, one with a large content,
// one deferred with one of two recipients left, and a submission.
type fixture struct {
	dir                            string
	fresh, large, deferred, queued string
	contents                       map[string][]byte
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	x := &fixture{dir: t.TempDir(), contents: map[string][]byte{}}
	for _, d := range []string{"incoming", "content", "maildrop"} {
		if err := os.Mkdir(filepath.Join(x.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	q, err := spool.Open(spool.Options{FS: disk.OS(x.dir), LogSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journal.Options{FS: disk.OS(x.dir), FileSize: 1 << 20, Spares: 1, InlineLimit: 10000})
	if err != nil {
		t.Fatal(err)
	}
	var ids mail.IDs
	add := func(large bool) string {
		env := &mail.Envelope{ID: ids.Next(time.Now()), Arrival: time.Unix(1_750_000_000, 0), EnvID: "e\x01vid", Ret: "HDRS", Body: mail.Body8Bit,
			Sender: "s@example.com", Recipients: []mail.Recipient{{Address: "a@example.net"}, {Address: "b@example.net", Original: "b", Notify: mail.NotifySuccess | mail.NotifyDelay}}}
		content := []byte("Subject: " + string(env.ID) + "\r\n\r\nx\r\n")
		m := &journal.Message{Envelope: env}
		if large {
			content = append(content, bytes.Repeat([]byte("long\r\n"), 5000)...)
			if m.Large, err = j.NewLarge(env.ID); err != nil {
				t.Fatal(err)
			}
			m.Large.Write(content)
			if err := m.Large.Commit(); err != nil {
				t.Fatal(err)
			}
		} else {
			m.Content = content
		}
		env.Size = int64(len(content))
		done := make(chan error, 1)
		j.Append(m, func(_ slot.Ref, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		x.contents[string(env.ID)] = content
		return string(env.ID)
	}
	x.deferred = add(false)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := q.WriterGone(0); err != nil {
		t.Fatal(err)
	}
	for _, m := range tail(t, q) {
		q.Done(m.Ref, 0)
		s := m.State
		s.Done.Add(0)
		s.Groups = []spool.Group{{Recipients: []uint32{1}, Due: time.Now().Add(time.Hour), Attempts: 3,
			Status: mail.Status{DSN: "4.2.0", Text: "busy\nline"}}}
		q.Put(m, s)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if j, err = journal.Open(journal.Options{FS: disk.OS(x.dir), FileSize: 1 << 20, Spares: 1, InlineLimit: 10000}); err != nil {
		t.Fatal(err)
	}
	x.fresh, x.large = add(false), add(true)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	x.queued = string(ids.Next(time.Now()))
	x.drop(t, x.queued)
	return x
}

func tail(t *testing.T, q *spool.Queue) []*spool.Message {
	t.Helper()
	ms, err := q.Tail(10)
	if err != nil || len(ms) != 1 {
		t.Fatalf("%v, %v", ms, err)
	}
	return ms
}

func (x *fixture) drop(t *testing.T, name string) {
	t.Helper()
	var b bytes.Buffer
	w := maildrop.NewWriter(&b, &maildrop.Submission{UID: 7, Sender: "u", FullName: "U Ser", Recipients: []mail.Address{"c", "d@example.net"}})
	x.contents[name] = []byte("Subject: local\n\nx\n")
	w.Write(x.contents[name])
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(x.dir, "maildrop", name), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// state sums up all that is in the spool, so that a change shows.
func (x *fixture) state(t *testing.T) string {
	t.Helper()
	s := ""
	err := filepath.WalkDir(x.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(name)
		i, _ := d.Info()
		s += fmt.Sprintf("%s %v %x\n", name, i.ModTime(), sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (x *fixture) run(t *testing.T) (out string, r Result, lines []string) {
	t.Helper()
	out = filepath.Join(t.TempDir(), "out")
	before := x.state(t)
	r, err := Run(x.dir, out, func() {}, func(l string) { lines = append(lines, l) })
	if err != nil {
		t.Fatal(err)
	}
	if x.state(t) != before {
		t.Error("the spool was changed")
	}
	return out, r, lines
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The folder has each message's content as stored and its envelope in lines.
func TestRun(t *testing.T) {
	x := newFixture(t)
	out, r, lines := x.run(t)
	if r != (Result{Messages: 4}) || lines != nil {
		t.Errorf("%+v, %v", r, lines)
	}
	es, _ := os.ReadDir(out)
	if len(es) != 8 {
		t.Errorf("%d files: %v", len(es), es)
	}
	for id, want := range x.contents {
		if got := read(t, out, id+".eml"); got != string(want) {
			t.Errorf("%s: %d bytes, not %d", id, len(got), len(want))
		}
	}
	due := ""
	for l := range strings.Lines(read(t, out, x.deferred+".envelope")) {
		if strings.HasPrefix(l, "due: ") {
			due = l
		}
	}
	const head = "arrival: 2025-06-15T15:06:40Z\nsize: %d\nbody: 8BITMIME\nenvid: e\\x01vid\nret: HDRS\n"
	const second = "recipient: b@example.net\noriginal: b\nnotify: SUCCESS,DELAY\n"
	for id, want := range map[string]string{
		x.deferred: "id: " + x.deferred + "\nqueue: deferred\nsender: s@example.com\n" + fmt.Sprintf(head, len(x.contents[x.deferred])) +
			second + "attempts: 3\n" + due + "dsn: 4.2.0\nreason: busy\\x0aline\n",
		x.fresh:  "id: " + x.fresh + "\nqueue: incoming\nsender: s@example.com\n" + fmt.Sprintf(head, len(x.contents[x.fresh])) + "recipient: a@example.net\n" + second,
		x.queued: "id: " + x.queued + "\nqueue: maildrop\nsender: u\nsize: 18\nuid: 7\nfull-name: U Ser\nrecipient: c\nrecipient: d@example.net\n",
	} {
		if got := read(t, out, id+".envelope"); got != want {
			t.Errorf("%s:\n%s\nnot\n%s", id, got, want)
		}
	}
	if found, err := Check(x.dir); err != nil || len(found) != 0 {
		t.Errorf("check: %v, %v", found, err)
	}
}

// A damaged content is kept as far as it is there, and what is damaged is told, also by
// Check; the other messages are whole.
func TestDamaged(t *testing.T) {
	x := newFixture(t)
	large := filepath.Join(x.dir, "content", x.large)
	b, _ := os.ReadFile(large)
	b[100] ^= 1
	os.WriteFile(large, b, 0o600)
	name, at := x.find(t, "Subject: "+x.fresh)
	f, _ := os.ReadFile(name)
	f[at] ^= 1
	os.WriteFile(name, f, 0o600)

	out, r, lines := x.run(t)
	if r != (Result{Messages: 2, Skipped: 2}) {
		t.Errorf("%+v, %v", r, lines)
	}
	if got := read(t, out, x.large+".damaged"); got != string(b) {
		t.Errorf("%d bytes of the large content", len(got))
	}
	if got := read(t, out, x.fresh+".damaged"); !strings.Contains(got, "ubject: "+x.fresh) || !strings.Contains(got, "a@example.net") {
		t.Errorf("of the small one: %q", got)
	}
	found, err := Check(x.dir)
	if err != nil || !slices.ContainsFunc(found, func(l string) bool { return strings.Contains(l, "content/"+x.large) }) ||
		!slices.ContainsFunc(found, func(l string) bool { return strings.Contains(l, filepath.Base(name)) }) {
		t.Errorf("check: %v, %v", found, err)
	}
}

// find says where in incoming/ a text is.
func (x *fixture) find(t *testing.T, text string) (string, int) {
	t.Helper()
	names, _ := filepath.Glob(x.dir + "/incoming/*")
	for _, name := range names {
		b, _ := os.ReadFile(name)
		if i := bytes.Index(b, []byte(text)); i >= 0 {
			return name, i
		}
	}
	t.Fatal("not found: " + text)
	return "", 0
}

// Whatever lies in maildrop/ is not waited for, not followed, and told.
func TestForeign(t *testing.T) {
	x := newFixture(t)
	drop := func(name string) string { return filepath.Join(x.dir, "maildrop", name) }
	os.Symlink("/etc/passwd", drop("4jX9Q000000zz"))
	if err := syscall.Mkfifo(drop("4jX9Q000001zz"), 0o600); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(drop("4jX9Q000002zz"), []byte("\x7fPRDROP\x01U"), 0o600)
	os.WriteFile(drop(".new.1"), []byte("half"), 0o600)
	_, r, lines := x.run(t)
	if r != (Result{Messages: 4, Skipped: 3}) {
		t.Errorf("%+v, %v", r, lines)
	}
	if found, err := Check(x.dir); err != nil || len(found) != 3 {
		t.Errorf("check: %v, %v", found, err)
	}
}

// What is no spool, of another version, or would overwrite something is refused.
func TestRefused(t *testing.T) {
	x := newFixture(t)
	if _, err := Run(t.TempDir(), filepath.Join(t.TempDir(), "out"), func() {}, nil); err == nil {
		t.Error("an empty folder is taken for a spool")
	}
	if _, err := Run(x.dir, t.TempDir(), func() {}, nil); err == nil {
		t.Error("a folder that was there was written to")
	}
	os.WriteFile(filepath.Join(x.dir, "version"), []byte("postrider spool 2\n"), 0o600)
	if _, err := Run(x.dir, filepath.Join(t.TempDir(), "out"), func() {}, nil); err == nil {
		t.Error("another version was read")
	}
}

// A submission that has become a message is there once, though its file is not removed
// yet.
func TestTaken(t *testing.T) {
	x := newFixture(t)
	j, err := journal.Open(journal.Options{FS: disk.OS(x.dir), FileSize: 1 << 20, Spares: 1})
	if err != nil {
		t.Fatal(err)
	}
	id := x.queued[:len(x.queued)-1] + "z"
	done := make(chan error, 1)
	j.Append(&journal.Message{Envelope: &mail.Envelope{ID: mail.QueueID(id), Recipients: []mail.Recipient{{Address: "c@example.net"}},
		Replaces: mail.Replaces{Maildrop: x.queued}}, Content: x.contents[x.queued]}, func(_ slot.Ref, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	j.Close()
	out, r, lines := x.run(t)
	if r != (Result{Messages: 4}) || lines != nil {
		t.Errorf("%+v, %v", r, lines)
	}
	if _, err := os.Stat(filepath.Join(out, x.queued+".eml")); err == nil {
		t.Error("the submission is there as well")
	}
	if got := read(t, out, id+".eml"); got != string(x.contents[x.queued]) {
		t.Errorf("%q", got)
	}
}
