package cleanup

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/journal"
	"postrider/lib/mail"
	"postrider/lib/maildrop"
	"postrider/lib/slot"
)

// submission encodes a file as postdrop writes it.
func submission(t testing.TB, content string, rcpt ...mail.Address) []byte {
	t.Helper()
	var b bytes.Buffer
	w := maildrop.NewWriter(&b, &maildrop.Submission{UID: 4711, Time: time.UnixMicro(1741083072123456), Sender: "alice",
		FullName: "Alice A.", Notify: mail.NotifyFailure, Recipients: rcpt})
	w.Write([]byte(content))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (r *rig) put(name string, b []byte) string {
	r.t.Helper()
	path := filepath.Join(r.dir, dropDir, name)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		r.t.Fatal(err)
	}
	return path
}

func (r *rig) reader() *dropReader { return newDropReader(r.s, r.dir, r.s.log.Named("postfix/pickup")) }

// once looks into maildrop/ once and waits for all answers.
func once(d *dropReader) {
	d.scan(context.Background())
	d.wait()
	d.takeFailed()
}

func TestMaildrop(t *testing.T) {
	r := newRig(t, "", nil)
	d := r.reader()
	r.put("D1", submission(t, "Subject: x\nTo: bob\n\nbare\nand stray\rhere\r\nlast", "bob", "carol@x.y"))
	r.put("D2", submission(t, "Subject: x\n\n"+strings.Repeat("y\n", 200<<10), "bob"))
	once(d)
	got := journaled(t, r.dir)
	if len(got) != 2 || len(r.files(dropDir)) != 0 {
		t.Fatalf("%d messages, left %q", len(got), r.files(dropDir))
	}
	if got[0].env.Replaces.Maildrop != "D1" {
		got[0], got[1] = got[1], got[0]
	}
	e := got[0].env
	uid := uint32(os.Getuid()) // the file's owner, whatever it says itself
	if e.Sender != "alice@origin.example" || e.Origin != mail.FromMaildrop || e.Client.UID != uid ||
		!e.Arrival.Equal(time.UnixMicro(1741083072123456)) || len(e.Recipients) != 2 ||
		e.Recipients[0] != (mail.Recipient{Address: "bob@origin.example", Original: "bob", Notify: mail.NotifyFailure}) ||
		e.Recipients[1].Address != "carol@x.y" || e.Recipients[1].Original != "" {
		t.Errorf("%+v", e)
	}
	want := fmt.Sprintf(`^Received: by mx.example \(Postrider, from userid %d\)\r\n\tid %s; .*\r\nSubject: x\r\nTo: bob@origin.example\r\n`, uid, e.ID) +
		`Message-Id: <\d{14}\.` + string(e.ID) + `@mx.example>\r\nDate: .*\r\nFrom: "Alice A." <alice@origin.example>\r\n\r\nbare\r\nand stray here\r\nlast\r\n$`
	if !regexp.MustCompile(want).MatchString(got[0].content) || int64(len(got[0].content)) != e.Size {
		t.Errorf("%q", got[0].content)
	}
	if n := strings.Count(got[1].content, "y\r\n"); n != 200<<10 || got[1].env.Size != int64(len(got[1].content)) {
		t.Errorf("%d lines, size %d of %d", n, got[1].env.Size, len(got[1].content))
	}
	log := r.lines()
	pickup := strings.Index(log, fmt.Sprintf("%s: uid=%d from=<alice>", e.ID, uid))
	if id := strings.Index(log, string(e.ID)+": message-id="+e.MessageID); pickup < 0 || id < pickup || !strings.Contains(log, "postfix/pickup[") {
		t.Errorf("log: %s", log)
	}
}

// TestMaildropOnce kills cleanup before each of its calls of the file system in
// turn: after the next start the submission is in the journal once, and gone from
// maildrop/.
func TestMaildropOnce(t *testing.T) {
	for _, size := range []int{1000, 300 << 10} {
		for at := 1; ; at++ {
			r := newRig(t, "", nil)
			path := r.put("D1", submission(t, "Subject: x\n\n"+text(size), "bob"))
			file, _ := os.ReadFile(path)
			r.fs.die(at)
			once(r.reader())
			died := r.fs.isDead()
			r.fs.die(1) // at the latest now
			r.s.journal.Close()

			again := newRig(t, r.dir, nil)
			once(again.reader())
			check := func(when string) {
				t.Helper()
				n := 0
				for _, m := range journaled(t, r.dir) {
					if m.env.Replaces.Maildrop == "D1" && strings.HasSuffix(m.content, text(size)) {
						n++
					}
				}
				if left := again.files(dropDir); n != 1 || len(left) != 0 {
					t.Fatalf("killed at call %d, %s: %d times in the journal, left in maildrop/: %q", at, when, n, left)
				}
			}
			check("after the start")
			// The removal was not synced: the name comes back after a power cut.
			again.s.journal.Close()
			again.put("D1", file)
			again = newRig(t, r.dir, nil)
			once(again.reader())
			check("when the name came back")
			again.s.journal.Close()
			if !died {
				if at < 3 {
					t.Fatalf("only %d calls", at)
				}
				break
			}
		}
	}
}

// TestMaildropKnown: a file whose message is in the journal is removed, not read, as
// when cleanup was killed between the two; also when that takes several attempts.
func TestMaildropKnown(t *testing.T) {
	r := newRig(t, "", nil)
	d := r.reader()
	path := r.put("D1", submission(t, "x: y\n\n", "bob"))
	// Removal fails as long as a directory that is not empty has the name.
	d.s.journal.Append(&journal.Message{Envelope: &mail.Envelope{ID: "X1", Replaces: mail.Replaces{Maildrop: "D1"}}}, func(slot.Ref, error) {})
	eventually(t, "the name is known", func() bool { _, ok := r.s.journal.SeenMaildrop("D1"); return ok })
	os.Remove(path)
	if err := os.MkdirAll(filepath.Join(path, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	once(d)
	once(d)
	if n := strings.Count(r.lines(), "cannot be removed"); n != 1 {
		t.Errorf("warned %d times", n)
	}
	if err := os.RemoveAll(filepath.Join(path, "x")); err != nil {
		t.Fatal(err)
	}
	once(d)
	if n := len(journaled(t, r.dir)); n != 1 || len(r.files(dropDir)) != 0 {
		t.Errorf("%d messages, left %q", n, r.files(dropDir))
	}
}

// TestC68Maildrop: whatever is in maildrop/, the reader leaves it alone with one
// warning and takes what is good.
func TestC68Maildrop(t *testing.T) {
	r := newRig(t, "", nil)
	good := submission(t, "x: y\n\n", "bob")
	path := func(name string) string { return filepath.Join(r.dir, dropDir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(unix.Mkfifo(path("FIFO"), 0o666))
	must(os.Symlink("/etc/passwd", path("SYMLINK")))
	must(os.Mkdir(path("DIRECTORY"), 0o755))
	l, err := net.Listen("unix", path("SOCKET"))
	must(err)
	defer l.Close()
	r.put("HARDLINK", good)
	must(os.Link(path("HARDLINK"), path("HARDLINK2")))
	r.put("SPARSE", good)
	must(os.Truncate(path("SPARSE"), 1<<40))
	r.put("ZEROS", nil)
	must(os.Truncate(path("ZEROS"), 30<<20))
	damaged := bytes.Clone(good)
	damaged[len(damaged)-1] ^= 1
	r.put("DAMAGED", damaged)
	r.put("TAIL", append(bytes.Clone(good), "more"...))
	r.put("not an id", good)
	r.put("NOBODY", submission(t, "x: y\n\n"))
	r.put("HOPS", submission(t, strings.Repeat("Received: x\n", 50), "bob"))
	must(os.Chtimes(r.put("CUT", good[:len(good)-5]), time.Time{}, time.Now().Add(-25*time.Hour)))
	silent := []string{"YOUNG", maildrop.TempPrefix + "young"}
	for _, name := range silent {
		r.put(name, good[:len(good)-5])
	}
	must(os.Chtimes(r.put(maildrop.TempPrefix+"old", good[:5]), time.Time{}, time.Now().Add(-25*time.Hour)))
	bad := len(r.files(dropDir)) - len(silent) - 1
	r.put("GOOD", good)

	d := r.reader()
	for range 3 {
		once(d)
	}
	got := journaled(t, r.dir)
	if len(got) != 1 || got[0].env.Replaces.Maildrop != "GOOD" {
		t.Errorf("%+v", got)
	}
	if n := len(r.files(dropDir)); n != bad+len(silent) {
		t.Errorf("%d files are left: %q", n, r.files(dropDir))
	}
	log := r.lines()
	if n := strings.Count(log, "left alone"); n != bad {
		t.Errorf("%d warnings for %d files:\n%s", n, bad, log)
	}
	if !strings.Contains(log, "unfinished for a day, removed") {
		t.Error("the abandoned file is not mentioned")
	}
	if r.s.buffered.Load() != 0 {
		t.Errorf("%d bytes still buffered", r.s.buffered.Load())
	}
	must(os.Truncate(path("ZEROS"), 31<<20)) // a file that changed is looked at again
	once(d)
	if n := strings.Count(r.lines(), "left alone"); n != bad+1 {
		t.Errorf("%d warnings after a change", n)
	}
}

// TestC68Race: files of maildrop/ that are written, cut, replaced and removed while the
// reader looks are taken whole or not at all.
func TestC68Race(t *testing.T) {
	r := newRig(t, "", nil)
	good := submission(t, "x: y\n\n"+strings.Repeat("a line\n", 5000), "bob")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		path := func(name string) string { return filepath.Join(r.dir, dropDir, name) }
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			name := fmt.Sprintf("RACE%d", n%7)
			switch n % 5 {
			case 0:
				os.WriteFile(path(name), good, 0o644) // grows while it is read
			case 1:
				os.Truncate(path(name), int64(n*7919%len(good)))
			case 2:
				os.Symlink("/etc/passwd", path(name))
				os.Remove(path(name))
			case 3:
				os.WriteFile(path("OTHER"), good, 0o644)
				os.Rename(path("OTHER"), path(name))
			case 4:
				os.Remove(path(name))
			}
		}
	}()
	d := r.reader()
	for range 300 {
		once(d)
	}
	close(stop)
	<-stopped
	for _, name := range r.files(dropDir) {
		os.Remove(filepath.Join(r.dir, dropDir, name))
	}
	r.put("LAST", good)
	once(d)
	got := journaled(t, r.dir)
	t.Logf("%d messages taken", len(got))
	if len(got) == 0 || got[len(got)-1].env.Replaces.Maildrop != "LAST" {
		t.Errorf("%d messages, and the last is not there", len(got))
	}
	for _, m := range got {
		if n := strings.Count(m.content, "a line\r\n"); n != 5000 {
			t.Errorf("%s: %d lines", m.env.Replaces.Maildrop, n)
		}
	}
}

// TestMaildropLater: what the journal does not take now stays and is taken later.
func TestMaildropLater(t *testing.T) {
	r := newRig(t, "", nil)
	d := r.reader()
	for i := range 5 {
		r.put(fmt.Sprintf("D%d", i), submission(t, "x: y\n\n"+text(i*80<<10), "bob"))
	}
	r.fs.failSyncs(1 << 30)
	once(d)
	if n := len(r.files(dropDir)); n != 5 {
		t.Errorf("%d of 5 files are left", n)
	}
	unknown := len(d.unsure)
	r.fs.failSyncs(0)
	eventually(t, "the journal works again", func() bool { once(d); return len(r.files(dropDir)) == unknown })
	r.s.journal.Close()
	again := newRig(t, r.dir, nil) // what nobody could know is known after a start
	once(again.reader())
	names := map[string]int{}
	for _, m := range journaled(t, r.dir) {
		names[m.env.Replaces.Maildrop]++
	}
	if len(names) != 5 || len(again.files(dropDir)) != 0 {
		t.Errorf("%v, left %q", names, again.files(dropDir))
	}
	for name, n := range names {
		if n != 1 {
			t.Errorf("%s: %d times", name, n)
		}
	}
}

// TestMaildropTrigger: a connection to public/pickup makes the reader look; an end
// makes it stop.
func TestMaildropTrigger(t *testing.T) {
	r := newRig(t, "", nil)
	d := r.reader()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "pickup"))
	if err != nil {
		t.Fatal(err)
	}
	go d.listen(l)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	r.put("D1", submission(t, "x: y\n\n", "bob"))
	go func() { d.run(ctx); close(done) }()
	eventually(t, "read at the start", func() bool { return len(r.files(dropDir)) == 0 })
	for i := range 3 {
		r.put(maildrop.TempPrefix, submission(t, "x: y\n\n", "bob"))
		from, to := filepath.Join(r.dir, dropDir, maildrop.TempPrefix), filepath.Join(r.dir, dropDir, fmt.Sprintf("E%d", i))
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		eventually(t, "read when told", func() bool { return len(r.files(dropDir)) == 0 })
	}
	cancel()
	l.Close()
	<-done
	if n := len(journaled(t, r.dir)); n != 4 {
		t.Errorf("%d messages", n)
	}
}

func TestCRLF(t *testing.T) {
	const in = "a\nb\r\nc\rd\r\r\n\r\n\n\re\r"
	const want = "a\r\nb\r\nc d \r\n\r\n\r\n e\r\n"
	for piece := 1; piece <= len(in); piece++ {
		if got := convert(in, piece); got != want {
			t.Errorf("by %d: %q", piece, got)
		}
	}
}

func convert(in string, piece int) string {
	var c crlf
	var out []byte
	for len(in) > 0 {
		n := min(piece, len(in))
		out = c.append(out, []byte(in[:n]))
		in = in[n:]
	}
	return string(c.end(out))
}

func FuzzCRLF(f *testing.F) {
	f.Add("a\rb\r\nc\n", 2)
	f.Fuzz(func(t *testing.T, in string, piece int) {
		got := convert(in, max(1, piece))
		if got != convert(in, len(in)+1) {
			t.Fatalf("%q: pieces matter", in)
		}
		bare := strings.ReplaceAll(got, "\r\n", "")
		if strings.ContainsAny(bare, "\r\n") || got != "" && !strings.HasSuffix(got, "\r\n") || convert(got, 3) != got {
			t.Fatalf("%q became %q", in, got)
		}
	})
}

// What the machine could not do at this moment is tried again at the next look; what is
// wrong with a file stays wrong.
func TestPassing(t *testing.T) {
	for _, e := range []error{unix.EIO, unix.ENOMEM, unix.EMFILE, &os.PathError{Op: "read", Err: unix.EDQUOT}} {
		if !passing(e) {
			t.Errorf("%v is for ever", e)
		}
	}
	for _, e := range []error{unix.EACCES, unix.ELOOP, errForeign, maildrop.ErrIncomplete, &os.PathError{Op: "open", Err: unix.ENOENT}} {
		if passing(e) {
			t.Errorf("%v passes", e)
		}
	}
}
