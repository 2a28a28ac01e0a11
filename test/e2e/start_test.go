package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// What an operator does wrong gets one clear line, and what ran goes on running.
func TestMistakes(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	far := sink.New(t, &l)
	i := instance.New(t, route("sink.test", far), "mesage_size_limit = 5000")
	if err := os.RemoveAll(i.Queue); err != nil { // the start makes what is missing
		t.Fatal(err)
	}
	if r := i.Run("master", "status"); r.Code == 0 || r.Stderr == "" {
		t.Errorf("status while down: %+v", r)
	}
	if r := i.Run("master", "check"); !regexp.MustCompile(`(?m)^master: warning: .*mesage_size_limit`).MatchString(r.Stderr) {
		t.Errorf("check of an unknown parameter: %+v", r)
	}
	i.Start() // a directory of root's: Start must make the queue in it
	i.AwaitLog(`master\[\d+\]: warning: .*mesage_size_limit`)
	if r := i.Run("master", "status"); r.Code != 0 {
		t.Errorf("status: %+v", r)
	}

	flows := func(id string) {
		t.Helper()
		send(t, i, &l, source.New(id, "a@source.test", 1000, "r@sink.test"))
		i.Await(id, func() bool { return l.Open() == 0 })
	}
	flows("first")

	r := i.Run("master")
	if want := fmt.Sprintf("PID: %d", i.PID("master")); r.Code == 0 || strings.Count(r.Stderr, "\n") != 1 || !strings.Contains(r.Stderr, "already running") || !strings.Contains(r.Stderr, want) {
		t.Errorf("a second master: %+v, want %s", r, want)
	}
	flows("second")

	// A reload with a mistake changes nothing.
	for name, bad := range map[string]string{"message_size_limit": "message_size_limit = lots", "minimal_backoff_time": "minimal_backoff_time = 5 parsecs"} {
		good, err := os.ReadFile(i.Conf + "/main.cf")
		if err != nil {
			t.Fatal(err)
		}
		i.WriteFile("conf/main.cf", string(good)+bad+"\n")
		if r := i.Run("master", "reload"); r.Code == 0 || !strings.Contains(r.Stderr, name) || !strings.Contains(r.Stderr, "main.cf") {
			t.Errorf("reload with %q: %+v", bad, r)
		}
		i.Hangup()
		i.AwaitLog(`master\[\d+\]: (error|warning|fatal): .*` + name)
		flows("after " + name)
		i.WriteFile("conf/main.cf", string(good))
	}
	i.WriteFile("conf/master.cf", "smtp inet n\n")
	if r := i.Run("master", "reload"); r.Code == 0 || !strings.Contains(r.Stderr, "master.cf") {
		t.Errorf("reload of a broken master.cf: %+v", r)
	}
	flows("after master.cf")

	// A good reload works, and cuts no session.
	s, err := source.Dial(i.Addr)
	if err != nil {
		t.Fatal(err)
	}
	i.Set("message_size_limit = 54321")
	i.Must("master", "reload")
	i.Await("the new limit", func() bool {
		s, err := source.Dial(i.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		got, err := s.Command("250", "EHLO x.test")
		return err == nil && strings.Contains(got, "250-SIZE 54321\n")
	})
	if o, err := s.Send(source.New("old session", "a@source.test", 1000, "r@sink.test"), &l); err != nil || len(o.Acked) != 1 {
		t.Errorf("a session from before the reload: %+v, %v", o, err)
	}
	s.Close()
	i.Await("that message", func() bool { return l.Open() == 0 })
	if err := i.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 {
		t.Error(v.Err(), v)
	}

	// The queue of a later version is left alone: no daemon starts and writes into it.
	version := filepath.Join(i.Queue, "version")
	good, err := os.ReadFile(version)
	if err != nil {
		t.Fatal(err)
	}
	i.WriteFile("queue/version", "postrider spool 2\n")
	if r := i.Run("master", "start"); r.Code == 0 || !strings.Contains(r.Stderr, "postrider spool 2") || strings.Count(r.Stderr, "\n") != 1 {
		t.Errorf("a queue of a later version: %+v", r)
	}
	if r := i.Run("master", "status"); r.Code == 0 {
		t.Errorf("it runs: %+v", r)
	}
	os.WriteFile(version, good, 0o600)

	// A directory that cannot be made is named.
	i.Set("queue_directory = /proc/nowhere/queue")
	if r := i.Run("master"); r.Code == 0 || !strings.Contains(r.Stderr, "/proc/nowhere") || strings.Count(r.Stderr, "\n") != 1 {
		t.Errorf("queue_directory that cannot be made: %+v", r)
	}
}

// A batch that was torn by a crash is cut off: what was acknowledged before it is
// delivered, nothing goes to corrupt/, and new mail flows.
func TestTornTail(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	far := sink.New(t, &l)
	far.Do(sink.Behaviour{Rcpt: func(string, string) string { return "450 4.2.0 busy" }})
	i := instance.Started(t, route("sink.test", far))
	// The journal's first file is given up for one that was written in advance as soon as
	// there is one; what stands in the first was durable then, and is not torn.
	n := 0
	i.Await("the journal to be in a file written in advance", func() bool {
		n++
		id := fmt.Sprintf("whole-%d", n)
		i.AwaitQueue(send(t, i, &l, source.New(id, "a@source.test", 9000, "r@sink.test")), "deferred")
		for name, size := range i.Files("incoming") {
			if size == 64<<20 && bytes.Contains(head(t, i.Queue+"/"+name), []byte(ledger.Header+": "+id+"\r\n")) {
				return true
			}
		}
		return false
	})
	// While qmgr stands still nothing but the journal knows of the next message.
	i.Freeze("qmgr")
	send(t, i, nil, source.New("torn", "a@source.test", 9000, "r@sink.test"))
	i.Kill()
	torn := bytes.TrimSpace(ledger.Content("torn", 9000)[6000:])
	cut := 0
	files, _ := filepath.Glob(i.Queue + "/incoming/*")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(b, torn); at >= 0 {
			cut++
			clear(b[at : at+len(torn)])
			if err := os.WriteFile(f, b, 0660); err != nil {
				t.Fatal(err)
			}
		}
	}
	if cut != 1 {
		t.Fatalf("the message is in %d files of %v", cut, files)
	}
	far.Do(sink.Behaviour{})
	i.Start()
	send(t, i, &l, source.New("new", "a@source.test", 9000, "r@sink.test"))
	i.Must("postqueue", "-f")
	i.Await("deliveries", func() bool { return l.Open() == 0 })
	i.Await("an empty queue", i.Drained)
	if n := len(far.Find("torn")); n != 0 {
		t.Errorf("what was torn was delivered %d times", n)
	}
	if f := i.Files("corrupt"); len(f) > 0 {
		t.Errorf("in corrupt/: %v", f)
	}
	if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 {
		t.Error(v.Err(), v)
	}
}

// head returns the first bytes of a file.
func head(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1<<20)
	k, err := f.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:k]
}

// A full disk refuses mail for now, loses none, still delivers what it has, and takes
// mail again when there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	far := sink.New(t, &l)
	busy := sink.Behaviour{Rcpt: func(string, string) string { return "450 4.2.0 busy" }}
	far.Do(busy)
	i := instance.New(t, route("sink.test", far), "minimal_backoff_time = 1000s", "maximal_backoff_time = 1000s")
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a small tmpfs")
	}
	if err := i.Tmpfs(700 << 20); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	i.Start()
	for n := range 20 {
		send(t, i, &l, source.New(fmt.Sprintf("before-%d", n), "a@source.test", 300_000*(n%2)+1000, "r@sink.test"))
	}
	free := fill(t, i, 100<<20) // below the reserve that the queue manager has for itself
	refused := func(id string, size int) bool {
		t.Helper()
		o, err := source.Send1(i.Addr, source.New(id, "a@source.test", size, "r@sink.test"), &l)
		if err == nil {
			return false
		}
		if !strings.HasPrefix(o.Reply, "452 4.3.1 ") {
			t.Fatalf("a full disk: %q, %v", o.Reply, err)
		}
		return true
	}
	n := 0
	next := func() string { n++; return fmt.Sprintf("full-%d", n) }
	i.Await("a large message to be refused", func() bool { return refused(next(), 3_000_000) })
	i.Await("the journal to be full", func() bool { return refused(next(), 200_000) })
	t.Logf("%d small messages were taken on the full disk", n-2)
	i.AwaitLog(`smtpd\[\d+\]: \w+: reject: END-OF-MESSAGE from unknown\[127\.0\.0\.1\]: 452 4\.3\.1 Insufficient system storage; |warning: not enough free space`)

	// Deliveries, deferrals, holding and a restart all work on the reserve.
	i.Must("postsuper", "-h", "ALL")
	i.Must("postsuper", "-H", "ALL")
	i.Kill()
	i.Start()
	far.Do(sink.Behaviour{})
	i.Must("postqueue", "-f")
	i.Await("deliveries on the full disk", func() bool { return l.Open() == 0 })

	// Without even that nothing is lost, and the log is not flooded.
	far.Do(busy)
	free()
	i.Await("a message to be taken", func() bool { return !refused(next(), 2000) })
	for l.Open() < 10 {
		if refused(next(), 2000) {
			t.Fatal("refused with room on the disk")
		}
	}
	free = fill(t, i, 0)
	far.Do(sink.Behaviour{})
	before := len(i.Log())
	i.Must("postqueue", "-f")
	r := i.RunWith(strings.Repeat("x\n", 1<<20), "sendmail", "-f", "a@source.test", "r@sink.test")
	if r.Code != 75 || r.Stderr == "" {
		t.Errorf("sendmail on a full disk: %+v", r)
	}
	i.Kill()
	i.Launch()
	i.AwaitLog(`no space left on device`)
	if grown := len(i.Log()) - before; grown > 50_000 {
		t.Errorf("%d bytes of log about the full disk", grown)
	}
	free()
	i.Await("the greeting", i.Greets)
	i.Await("a large message to be taken", func() bool { return !refused(next(), 3_000_000) })
	i.Must("postqueue", "-f")
	i.Await("deliveries", func() bool { return l.Open() == 0 })
	i.Await("an empty queue", i.Drained)
	if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 {
		t.Error(v.Err(), v)
	}
	if f := i.Files("corrupt"); len(f) > 0 {
		t.Errorf("in corrupt/: %v", f)
	}
}

// fill writes a file until the file system has no more room than that, and returns what
// frees it.
func fill(t *testing.T, i *instance.Instance, room int64) func() {
	t.Helper()
	name := i.Queue + "/fill"
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1<<20)
	for len(b) > 0 {
		var st syscall.Statfs_t
		if err := syscall.Fstatfs(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		if int64(st.Bavail)*st.Bsize < room {
			break
		}
		if _, err := f.Write(b); err != nil {
			b = b[:len(b)/2]
		}
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}
