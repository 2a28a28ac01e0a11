package doors

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	_ "modernc.org/sqlite"

	"postrider/test/doors/attempt"
	"postrider/test/instance"
	"postrider/test/sink"
	"postrider/test/source"
)

// daemons are the programs that are probed.
var daemons = []string{"smtpd", "smtp", "lmtp", "bounce", "cleanup", "qmgr", "proxymap", "local"}

var probe struct {
	sync.Once
	dir, path string
	err       error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if probe.dir != "" {
		os.RemoveAll(probe.dir)
	}
	os.Exit(code)
}

// programs is a daemon_directory with the probe in place of each daemon.
func programs(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: daemons run under accounts of their own")
	}
	real := instance.Programs(t)
	probe.Do(func() {
		if probe.err = instance.Accounts(); probe.err != nil {
			return
		}
		if probe.dir, probe.err = os.MkdirTemp("", "postrider-doors-"); probe.err != nil {
			return
		}
		os.Chmod(probe.dir, 0755)
		probe.path = probe.dir + "/probe"
		cmd := exec.Command("go", "build", "-buildvcs=false", "-o", probe.path, "postrider/test/doors/probe")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			probe.err = fmt.Errorf("build the probe: %w\n%s", err, out)
		}
	})
	if probe.err != nil {
		t.Fatal(probe.err)
	}
	bin, err := os.MkdirTemp(probe.dir, "bin-")
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(bin, 0755)
	entries, err := os.ReadDir(real)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := filepath.Join(bin, e.Name())
		if slices.Contains(daemons, e.Name()) {
			err = os.Link(probe.path, name)
		} else {
			err = os.Symlink(filepath.Join(real, e.Name()), name)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(bin+"/target", nil, 0644); err != nil {
		t.Fatal(err)
	}
	return bin
}

// system is a running system of probes.
type system struct {
	*instance.Instance
	far *sink.Sink
	t   *testing.T
}

func start(t *testing.T, lines ...string) *system {
	t.Helper()
	bin := programs(t)
	s := &system{t: t, far: sink.New(t, nil)}
	s.Instance = instance.AsRoot(t, bin, append([]string{
		"transport_maps = inline:{ {sink.test = smtp:" + s.far.NextHop() + "} }",
		"default_process_count = 2"}, lines...)...)
	withAll(t, s.Instance)
	s.Start()
	s.Await("all daemons", func() bool { return s.all() != nil })
	return s
}

// withAll gives the system an lmtp, and a policy that asks a database, and so a proxymap.
func withAll(t *testing.T, i *instance.Instance) {
	t.Helper()
	i.AddService("lmtp unix - - n - - lmtp")
	dir := i.Dir + "/people" // all below it can be read
	path := dir + "/people.db"
	if err := os.Mkdir(dir, 0755); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err == nil {
		_, err = db.Exec("CREATE TABLE people (address TEXT PRIMARY KEY)")
		db.Close()
	}
	if err == nil {
		err = errors.Join(os.Chmod(path, 0644), os.Chmod(i.Dir, 0755),
			os.WriteFile(i.Conf+"/people", []byte("dbpath = "+path+"\nquery = SELECT 'yes' FROM people WHERE address = '%s'\n"), 0644),
			os.WriteFile(i.Conf+"/sched.cf", []byte(`queue "people" { }
rule {
  when  = lookup("sqlite:`+i.Conf+`/people", rcpt)
  queue = "people"
}
rule { }
`), 0644))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// all are the processes by program, nil while some are missing.
func (s *system) all() map[string][]int {
	found := map[string][]int{}
	for _, p := range s.Processes() {
		found[p.Name] = append(found[p.Name], p.PID)
	}
	for _, name := range daemons {
		if want := map[string]int{"smtpd": 2, "smtp": 2}[name]; len(found[name]) < max(want, 1) {
			return nil
		}
	}
	return found
}

// run has every daemon make the attempts, while smtp has two messages in hand, and
// returns what was reached, by program and attempt.
func (s *system) run() map[string]map[string]string {
	t := s.t
	t.Helper()
	// What is delivered meanwhile stays in hand: the sink waits before it answers.
	stay := make(chan struct{})
	defer sync.OnceFunc(func() { close(stay) })()
	s.far.Do(sink.Behaviour{Dot: func(*sink.Mail) string { <-stay; return "" }})
	for _, size := range []int{200 << 10, 600 << 10} { // a memory file, and a file of its own
		s.send(source.New(fmt.Sprintf("size-%d", size), "a@source.test", size, "r@sink.test"))
	}
	s.Await("two deliveries in hand", func() bool { return s.far.Pending() == 2 })

	target := s.target()
	b, err := json.Marshal(target)
	if err == nil {
		err = os.WriteFile(s.Bin+"/target", b, 0644)
	}
	if err != nil {
		t.Fatal(err)
	}
	reached := map[string]map[string]string{}
	for _, name := range daemons {
		reached[name] = map[string]string{}
		for _, pid := range target.Daemons[name] {
			if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	for _, name := range daemons {
		for _, pid := range target.Daemons[name] {
			prefix := fmt.Sprintf("PROBE %s %d ", name, pid)
			var got map[string]string
			s.Await("the report of "+name, func() bool { got = report(s.Stderr(), prefix); return got != nil })
			for attempt, what := range got {
				reached[name][attempt] = what
			}
			if name == "qmgr" || name == "cleanup" { // which have the files open now and then, and may: see content/
				delete(reached[name], "hold a message's file")
				delete(reached[name], "change a message's file")
			}
		}
	}
	if t.Failed() {
		t.Log(s.Stderr())
	}
	return reached
}

func report(text, prefix string) (m map[string]string) {
	for l := range strings.Lines(text) {
		if _, j, ok := strings.Cut(l, prefix); ok && strings.HasSuffix(l, "\n") {
			json.Unmarshal([]byte(j), &m)
		}
	}
	return m
}

// send gives a message to the system by SMTP and returns its queue id.
func (s *system) send(m *source.Message) string {
	s.t.Helper()
	o, err := source.Send1(s.Addr, m, nil)
	if err != nil || o.QueueID == "" {
		s.t.Fatalf("%s: %v, %+v", m.ID, err, o)
	}
	return o.QueueID
}

// target is what there is to reach.
func (s *system) target() *attempt.Target {
	t := s.t
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { packets.Close() })
	abstract := "@postrider-doors-" + filepath.Base(s.Dir)
	local, err := net.Listen("unix", abstract)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { local.Close() })

	x := &attempt.Target{Queue: s.Queue, Main: s.Conf + "/main.cf", Key: s.Dir + "/key.pem", Log: s.Dir + "/maillog",
		TCP: listener.Addr().String(), UDP: packets.LocalAddr().String(), Local: abstract, Daemons: s.all()}
	if err := os.WriteFile(x.Key, []byte("secret"), 0600); err != nil {
		t.Fatal(err)
	}
	// As postdrop leaves one behind.
	x.Drop = s.Queue + "/maildrop/doors"
	if err := os.WriteFile(x.Drop, []byte("mail"), 0640); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	err = syscall.Stat(s.Queue+"/maildrop", &st)
	if err == nil {
		err = os.Chown(x.Drop, 1, int(st.Gid))
	}
	if err != nil {
		t.Fatal(err)
	}
	first := func(dir string) string {
		for name := range s.Files(dir) {
			return filepath.Join(s.Queue, name)
		}
		t.Fatalf("nothing in %s", dir)
		return ""
	}
	x.Journal, x.Content, x.Spool = first("incoming"), first("content"), first("log")
	for path, inode := range map[string]*uint64{x.Content: &x.ContentInode, x.Log: &x.LogInode, s.Queue + "/pid/spool.lock": &x.LockInode} {
		if err := syscall.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		*inode = st.Ino
	}
	for _, q := range s.List() {
		x.Message = q.ID
	}
	if x.Message == "" {
		t.Fatal("no message in the queue")
	}
	return x
}
