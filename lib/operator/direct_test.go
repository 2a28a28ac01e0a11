package operator

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/journal"
	"postrider/lib/mail"
	"postrider/lib/maildrop"
	"postrider/lib/proto"
	"postrider/lib/slot"
	"postrider/lib/spool"
)

// queue is a spool of a system that is down, with messages that cleanup accepted and
// qmgr has not seen.
type queue struct {
	t   *testing.T
	dir string
	ids []string
}

func newQueue(t *testing.T, messages int) *queue {
	t.Helper()
	w := &queue{t: t, dir: t.TempDir()}
	for _, d := range []string{"pid", "incoming", "content", "maildrop"} {
		if err := os.Mkdir(filepath.Join(w.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.open().Close()
	j, err := journal.Open(journal.Options{FS: disk.OS(w.dir), FileSize: 1 << 20, Spares: 1, InlineLimit: 10000})
	if err != nil {
		t.Fatal(err)
	}
	var ids mail.IDs
	for n := range messages {
		env := &mail.Envelope{ID: ids.Next(time.Now()), Sender: "s@example.com", Arrival: time.Now(),
			Recipients: []mail.Recipient{{Address: "a@example.net"}, {Address: "b@example.net", Original: "b"}}}
		content := []byte("Subject: " + string(env.ID) + "\r\n\r\nx\r\n")
		if n == 1 {
			content = append(content, bytes.Repeat([]byte("long\r\n"), 5000)...)
		}
		env.Size = int64(len(content))
		m := &journal.Message{Envelope: env, Content: content}
		if n == 1 {
			l, err := j.NewLarge(env.ID)
			if err != nil {
				t.Fatal(err)
			}
			l.Write(content)
			if err := l.Commit(); err != nil {
				t.Fatal(err)
			}
			m.Content, m.Large = nil, l
		}
		done := make(chan error, 1)
		j.Append(m, func(_ slot.Ref, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.ids = append(w.ids, string(env.ID))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *queue) open() Queue {
	w.t.Helper()
	q, err := Direct(w.dir, w.dir, func() error { return nil })
	if err != nil {
		w.t.Fatal(err)
	}
	return q
}

// list is where each message is, as a word of letters, as a fresh look sees it.
func (w *queue) list() string {
	w.t.Helper()
	q := w.open()
	defer q.Close()
	found := map[string]string{}
	err := q.List(&proto.List{}, func(it *proto.Item) error {
		c := it.Queue[:1]
		if it.Expired {
			c = strings.ToUpper(c)
		}
		if found[string(it.ID)] != "" || len(it.Recipients) != 2 || it.Recipients[1].Original != "b" || it.Sender != "s@example.com" {
			w.t.Errorf("listed: %+v", it)
		}
		found[string(it.ID)] = c
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	s := ""
	for _, id := range w.ids {
		s += (found[id] + ".")[:1]
	}
	return s
}

// do carries out a verb, ends without a checkpoint's help, and looks again.
func (w *queue) do(v *proto.Verb, count uint64, want string) {
	w.t.Helper()
	q := w.open()
	done, err := q.Do(v)
	if err != nil || done.Count != count || uint64(len(done.IDs)) != count {
		w.t.Errorf("%+v: %+v, %v", v, done, err)
	}
	if err := q.Close(); err != nil {
		w.t.Error(err)
	}
	if got := w.list(); got != want {
		w.t.Fatalf("after %+v: %s, not %s", v, got, want)
	}
}

// Every verb on the locked spool does what it does through qmgr, and it is there at the
// next look.
func TestDirect(t *testing.T) {
	w := newQueue(t, 5)
	if got := w.list(); got != "ddddd" {
		t.Fatalf("at first: %s", got)
	}
	some := func(n ...int) (ids []string) {
		for _, i := range n {
			ids = append(ids, w.ids[i])
		}
		return ids
	}
	w.do(&proto.Verb{Kind: proto.VerbHold, IDs: some(0, 1)}, 2, "hhddd")
	w.do(&proto.Verb{Kind: proto.VerbHold, IDs: some(0)}, 0, "hhddd")
	w.do(&proto.Verb{Kind: proto.VerbExpire, IDs: some(1, 2)}, 2, "hHDdd")
	w.do(&proto.Verb{Kind: proto.VerbExpireAll, IDs: some(1)}, 1, "hDDdd")
	w.do(&proto.Verb{Kind: proto.VerbRequeue, All: true, Queues: []string{"hold"}}, 1, "dDDdd")
	w.do(&proto.Verb{Kind: proto.VerbHold, All: true}, 5, "hHHhh")
	w.do(&proto.Verb{Kind: proto.VerbRelease, IDs: some(3)}, 1, "hHHdh")
	w.do(&proto.Verb{Kind: proto.VerbDelete, All: true, Queues: []string{"deferred"}}, 1, "hHH.h")
	w.do(&proto.Verb{Kind: proto.VerbDelete, IDs: some(1)}, 1, "h.H.h")
	w.do(&proto.Verb{Kind: proto.VerbDelete}, 0, "h.H.h")
	w.do(&proto.Verb{Kind: proto.VerbDelete, IDs: []string{"4jX9Q000000zz"}}, 0, "h.H.h")
	if es, _ := os.ReadDir(filepath.Join(w.dir, "content")); len(es) != 0 {
		t.Errorf("the large content of a deleted message is still there")
	}
	q := w.open()
	defer q.Close()
	if _, err := q.Do(&proto.Verb{Kind: proto.VerbFlush, All: true}); !errors.Is(err, ErrDown) {
		t.Errorf("flush: %v", err)
	}
}

// What was asked for is in the state that the next qmgr reads.
func TestDirectWish(t *testing.T) {
	w := newQueue(t, 3)
	w.do(&proto.Verb{Kind: proto.VerbHold, IDs: w.ids[:1]}, 1, "hdd")
	w.do(&proto.Verb{Kind: proto.VerbRequeue, IDs: w.ids[:2]}, 2, "ddd")
	w.do(&proto.Verb{Kind: proto.VerbExpire, IDs: w.ids[2:]}, 1, "ddD")
	q, err := spool.Open(spool.Options{FS: disk.OS(w.dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	var due []*spool.Message
	for len(due) < 3 {
		more, err := q.Due(10)
		if err != nil || len(more) == 0 && !q.Reading() {
			t.Fatalf("%v, %v", due, err)
		}
		if due = append(due, more...); q.Reading() {
			(<-q.Events())()
		}
	}
	for _, m := range due {
		n := slices.Index(w.ids, string(m.Envelope.ID))
		if m.State.Requeue != (n < 2) || m.State.Expired != (n == 2) || m.Held {
			t.Errorf("message %d: %+v", n, m.State)
		}
	}
}

// Content is shown whole, inline or in a file of its own.
func TestDirectCat(t *testing.T) {
	w := newQueue(t, 2)
	q := w.open()
	defer q.Close()
	for n, want := range []int{0, 30000} {
		var heads []string
		var b bytes.Buffer
		err := q.Cat(w.ids[n:n+1], func(it *proto.Item) error { heads = append(heads, string(it.ID)); return nil }, &b)
		if err != nil || !slices.Equal(heads, w.ids[n:n+1]) || !strings.HasPrefix(b.String(), "Subject: "+w.ids[n]+"\r\n") || b.Len() < want {
			t.Errorf("%v, %v, %d bytes", err, heads, b.Len())
		}
	}
}

// Nobody works on a spool that is locked, and no file is opened before rights are
// given up.
func TestDirectLock(t *testing.T) {
	w := newQueue(t, 1)
	q := w.open()
	if _, err := Direct(w.dir, w.dir, func() error { return nil }); !errors.Is(err, ErrRunning) {
		t.Errorf("a second one: %v", err)
	}
	q.Close()
	no := errors.New("no such user")
	if _, err := Direct(w.dir, w.dir, func() error { return no }); !errors.Is(err, no) {
		t.Errorf("rights: %v", err)
	}
	if got := w.list(); got != "d" {
		t.Errorf("then: %s", got)
	}
	if _, err := Dial(w.dir); !errors.Is(err, ErrDown) {
		t.Errorf("dial: %v", err)
	}
}

// TestDirectMaildrop: what sendmail left while the system was down is listed, and
// nothing else that lies in maildrop/.
func TestDirectMaildrop(t *testing.T) {
	w := newQueue(t, 1)
	drop := func(name string, whole bool) {
		f, err := os.Create(filepath.Join(w.dir, "maildrop", name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		d := maildrop.NewWriter(f, &maildrop.Submission{Time: time.Unix(1741083072, 0), Sender: "alice", Recipients: []mail.Address{"bob@example.net"}})
		d.Write([]byte("Subject: x\r\n\r\n"))
		if whole {
			d.Close()
		}
	}
	good := maildrop.NewName(time.Unix(1741083072, 0), 7)
	drop(good, true)
	drop(maildrop.NewName(time.Unix(1741083073, 0), 8), false)
	os.Symlink("/etc/passwd", filepath.Join(w.dir, "maildrop", maildrop.NewName(time.Unix(1741083074, 0), 9)))
	q := w.open()
	defer q.Close()
	var got []string
	err := q.List(&proto.List{}, func(it *proto.Item) error {
		got = append(got, it.Queue+" "+string(it.ID)+" "+string(it.Sender)+" "+string(it.Recipients[0].Address))
		return nil
	})
	want := []string{"maildrop " + good + " alice bob@example.net", "deferred " + w.ids[0] + " s@example.com a@example.net"}
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("listed %q, %v, want %q", got, err, want)
	}
}
