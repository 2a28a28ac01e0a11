package cleanup

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/ipc"
	"postrider/lib/journal"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/slot"
	"postrider/lib/submit"
)

const fileSize = 1 << 20 // of the journals of tests

// rig is a cleanup on a queue directory of its own.
type rig struct {
	t   testing.TB
	dir string
	s   *service
	fs  *mortal
	log *os.File
}

// newRig starts a cleanup; dir "" makes a new queue directory.
func newRig(t testing.TB, dir string, change func(*journal.Options)) *rig {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	l := maillog.New("postfix/cleanup", maillog.Options{Host: "test"})
	l.Open(log, maillog.File)
	t.Cleanup(l.Close)
	r := &rig{t: t, dir: dir, s: newService(l, time.Now), fs: &mortal{FS: disk.OS(dir)}, log: log}
	r.s.settings.Store(&settings{myhostname: "mx.example", mailName: "Postrider", hopLimit: 50, headerLimit: 102400, sizeLimit: 1 << 20,
		rewrite: func(a mail.Address) mail.Address {
			if a == "" || a.Domain() != "" {
				return a
			}
			return a + "@origin.example"
		}})
	o := journal.Options{FS: r.fs, FileSize: fileSize, InlineLimit: 100 << 10, Spares: 1}
	if change != nil {
		change(&o)
	}
	if err := r.s.openJournal(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.s.journal.Close() })
	return r
}

// lines returns what was logged.
func (r *rig) lines() string {
	r.s.log.Flush()
	b, err := os.ReadFile(r.log.Name())
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// pair returns two connected sockets.
func pair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	x, y, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	if a, err = ipc.FromFD(x); err != nil {
		t.Fatal(err)
	}
	if b, err = ipc.FromFD(y); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// client connects a partner.
func (r *rig) client(name string) *submit.Client {
	ours, theirs := pair(r.t)
	go r.s.newClient(name, ours).serve()
	c := &submit.Client{}
	c.Connect(theirs)
	r.t.Cleanup(c.Close)
	return c
}

// stored is a message in the journal.
type stored struct {
	env     *mail.Envelope
	content string
}

// journaled reads the journal as qmgr would: every file up to where the next one
// says that it ends.
func journaled(t testing.TB, dir string) []stored {
	t.Helper()
	type file struct {
		h slot.Header
		f *os.File
		n int64
	}
	var files []file
	entries, err := os.ReadDir(filepath.Join(dir, "incoming"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, "incoming", e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a spare that could not be finished; what has mail in it stays, as nobody frees it here
		}
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if h, err := slot.ReadHeader(f); err == nil && h.Kind == slot.Content {
			i, _ := f.Stat()
			files = append(files, file{h, f, i.Size()})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return int(a.h.Number) - int(b.h.Number) })
	ends := map[uint64]int64{}
	for _, f := range files {
		if r, _, err := slot.ReadRecord(f.f, f.h, slot.DataStart, nil); err == nil && r.Type == slot.TypeSeal {
			seals, err := slot.DecodeSeals(r.Envelope)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range seals {
				ends[s.File] = s.Length
			}
		}
	}
	var all []stored
	for _, f := range files {
		if end, ok := ends[f.h.Number]; ok {
			f.n = end
		}
		for s := slot.NewScanner(f.f, f.h, f.n); ; {
			rec, err := s.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if rec.Type != slot.TypeMessage {
				continue
			}
			env, err := mail.DecodeEnvelope(rec.Envelope)
			if err != nil {
				t.Fatal(err)
			}
			content := string(rec.Content)
			if rec.Flags&slot.FlagLarge != 0 {
				b, err := os.ReadFile(filepath.Join(dir, "content", string(env.ID)))
				if err != nil {
					t.Fatal(err)
				}
				content = string(b)
			}
			all = append(all, stored{env, content})
		}
	}
	return all
}

// files lists a directory of the queue.
func (r *rig) files(dir string) []string {
	entries, err := os.ReadDir(filepath.Join(r.dir, dir))
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func text(n int) string { return strings.Repeat("0123456789abcde\r\n", n/17+1)[:n/17*17] }

func envelope(id int, rcpt ...mail.Address) *mail.Envelope {
	e := &mail.Envelope{ID: mail.QueueID("T" + strconv.Itoa(id)), Sender: "s@example.org", Arrival: time.UnixMicro(1741083072123456)}
	for _, a := range rcpt {
		e.Recipients = append(e.Recipients, mail.Recipient{Address: a})
	}
	return e
}

var errDead = errors.New("the process is dead")

// mortal is a file system that stops working, for its own process, as after a kill;
// and whose syncs can be made to fail.
type mortal struct {
	disk.FS
	mu       sync.Mutex
	calls    int
	dieAt    int // the number of the call before which everything ends; 0 never
	dead     bool
	failSync int // so many syncs fail; a single one is of records
}

func (m *mortal) call() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if m.dieAt > 0 && m.calls >= m.dieAt {
		m.dead = true
	}
	if m.dead {
		return errDead
	}
	return nil
}

func (m *mortal) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

func (m *mortal) die(at int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls, m.dieAt = 0, at
}

func (m *mortal) failSyncs(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failSync = n
}

func (m *mortal) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	if err := m.call(); err != nil {
		return nil, err
	}
	f, err := m.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &mortalFile{File: f, m: m}, nil
}

func (m *mortal) Remove(name string) error {
	if err := m.call(); err != nil {
		return err
	}
	return m.FS.Remove(name)
}

func (m *mortal) SyncDir(name string) error {
	if err := m.call(); err != nil {
		return err
	}
	return m.FS.SyncDir(name)
}

func (m *mortal) Free(string) (int64, error) { return 1 << 40, nil }

type mortalFile struct {
	disk.File
	m       *mortal
	records bool // the last write was one of records
}

func (f *mortalFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.m.call(); err != nil {
		return 0, err
	}
	f.m.mu.Lock()
	f.records = off >= slot.DataStart && len(b) < fileSize
	f.m.mu.Unlock()
	return f.File.WriteAt(b, off)
}

func (f *mortalFile) Sync() error {
	if err := f.m.call(); err != nil {
		return err
	}
	f.m.mu.Lock()
	fail := f.m.failSync > 1 || f.m.failSync == 1 && f.records && strings.HasPrefix(f.Name(), "incoming/")
	if fail {
		f.m.failSync--
	}
	f.m.mu.Unlock()
	if fail {
		return errors.New("input/output error")
	}
	return nil // the machine stays up
}
