package instance

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Hostname and Domain are the instance's: mail for Domain is delivered locally, into a
// Maildir for each name.
const (
	Hostname = "mx.instance.test"
	Domain   = "local.test"
)

const port = "2525"

// Instance is a mail system. Make one with New; it is stopped and removed when the test
// ends.
type Instance struct {
	Dir   string // everything below is in it
	Conf  string // main.cf, master.cf
	Queue string // queue_directory
	Mail  string // mail_spool_directory: a Maildir for each name
	Addr  string // of the SMTP server
	Bin   string // programs
	// Crashes says that programs are meant to crash: that alone fails no test.
	Crashes bool
	// Wrap, if set, changes the command of each program before it is started.
	Wrap func(*exec.Cmd)
	// Private, if set, is a shell script that arranges a mount namespace of its own for the
	// system, as root, before master starts there.
	Private string
	// Stdout, if set, is master's standard output.
	Stdout *os.File

	t      testing.TB
	main   []string
	master []string
	cred   *syscall.Credential

	cmd     *exec.Cmd
	exited  chan struct{} // closed when master has been waited for
	orphans []Process     // of a master that was killed alone
}

// New writes the configuration of an instance; lines are added to main.cf, and override
// what is there. It is not started.
func New(t testing.TB, lines ...string) *Instance {
	t.Helper()
	return create(t, Programs(t), nobody(t), lines)
}

// Tagged is New with daemons that are built with a tag, and whose crashes fail no test.
func Tagged(t testing.TB, tag string, lines ...string) *Instance {
	t.Helper()
	dir, err := tagged(Programs(t), tag)
	if err != nil {
		t.Fatal(err)
	}
	i := create(t, dir, nobody(t), lines)
	i.Crashes = true
	return i
}

func create(t testing.TB, bin string, cred *syscall.Credential, lines []string) *Instance {
	t.Helper()
	dir, err := os.MkdirTemp("", "postrider-test-")
	if err != nil {
		t.Fatal(err)
	}
	i := &Instance{Dir: dir, Conf: dir + "/conf", Queue: dir + "/queue", Mail: dir + "/mail", Addr: loopback(t), Bin: bin, t: t, cred: cred}
	host, _, _ := net.SplitHostPort(i.Addr)
	i.main = append([]string{
		"compatibility_level = 3.6",
		"queue_directory = " + i.Queue,
		"data_directory = " + dir + "/data",
		"daemon_directory = " + bin,
		"command_directory = " + bin,
		"maillog_file = " + i.logFile(),
		"mail_spool_directory = " + i.Mail,
		"myhostname = " + Hostname,
		"mydestination = $myhostname, " + Domain,
		"mynetworks = 127.0.0.0/8",
		"inet_interfaces = " + host,
		"inet_protocols = ipv4",
		"local_recipient_maps =",
		"alias_maps =",
		"smtpd_peername_lookup = no",
		"disable_dns_lookups = yes",
		"recipient_delimiter = +",
		"notify_classes =", // mail to the postmaster is in no ledger
	}, lines...)
	i.master = []string{
		port + "   inet n - n - - smtpd",
		"cleanup   unix n - n - 0 cleanup",
		"qmgr      unix n - n 300 1 qmgr",
		"bounce    unix - - n - 0 bounce",
		"smtp      unix - - n - - smtp",
		"relay     unix - - n - - smtp",
		"local     unix - n n - - local",
		"error     unix - - n - - error",
		"retry     unix - - n - - error",
		"discard   unix - - n - - discard",
	}
	made := []string{dir, i.Conf, i.Queue, i.Mail}
	if cred == nil && os.Geteuid() == 0 {
		made = made[:2] // the owners of the others are master's to say
	}
	for _, d := range made {
		if err := os.MkdirAll(d, 0755); err != nil {
			t.Fatal(err)
		}
		i.give(d)
		os.Chmod(d, 0755)
	}
	i.write()
	t.Cleanup(func() {
		if e := i.Stderr(); !i.Crashes && (strings.Contains(e, "panic: ") || strings.Contains(e, "DATA RACE") || strings.Contains(e, "fatal error: ")) {
			t.Error("a program crashed")
		}
		if t.Failed() {
			if !i.Exited() {
				t.Logf("the queue:\n%s", tail(i.Run("postqueue", "-p").Stdout, 4000))
			}
			t.Logf("log of %s:\n%s", t.Name(), tail(i.Log(), 12000))
			t.Logf("standard error:\n%s", tail(i.Stderr(), 4000))
		}
		i.Kill()
		if t.Failed() && os.Getenv(envKeep) != "" {
			t.Logf("kept: %s", dir)
			return
		}
		os.RemoveAll(dir)
	})
	return i
}

// Started is New and Start.
func Started(t testing.TB, lines ...string) *Instance {
	t.Helper()
	i := New(t, lines...)
	i.Start()
	return i
}

// Set adds lines to main.cf; a later line overrides an earlier one. Reload or a start
// makes them work.
func (i *Instance) Set(lines ...string) {
	i.main = append(i.main, lines...)
	i.write()
}

// AddService adds lines to master.cf.
func (i *Instance) AddService(lines ...string) {
	i.master = append(i.master, lines...)
	i.write()
}

// write writes both files, each parameter with its last value only.
func (i *Instance) write() {
	last := map[string]int{}
	for n, l := range i.main {
		name, _, _ := strings.Cut(l, "=")
		last[strings.TrimSpace(name)] = n
	}
	var b bytes.Buffer
	for n, l := range i.main {
		name, _, _ := strings.Cut(l, "=")
		if last[strings.TrimSpace(name)] == n {
			b.WriteString(l + "\n")
		}
	}
	i.replace("conf/main.cf", b.String())
	i.replace("conf/master.cf", strings.Join(i.master, "\n")+"\n")
}

// replace is WriteFile for a file that others may be reading.
func (i *Instance) replace(name, text string) {
	i.WriteFile(name+".new", text)
	if err := os.Rename(filepath.Join(i.Dir, name+".new"), filepath.Join(i.Dir, name)); err != nil {
		i.t.Fatal(err)
	}
}

// WriteFile writes a file below Dir that the instance can read.
func (i *Instance) WriteFile(name, text string) string {
	path := filepath.Join(i.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0644); err != nil {
		i.t.Fatal(err)
	}
	i.give(path)
	return path
}

// give makes the instance's user the owner.
func (i *Instance) give(path string) {
	if i.cred != nil {
		if err := os.Lchown(path, int(i.cred.Uid), int(i.cred.Gid)); err != nil {
			i.t.Fatal(err)
		}
	}
}

// GiveQueue makes the instance's user the owner of all that a test put into the queue
// directory while the system was down.
func (i *Instance) GiveQueue() {
	filepath.WalkDir(i.Queue, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			i.give(path)
		}
		return nil
	})
}

// Start starts the system and waits until it greets.
func (i *Instance) Start() {
	i.t.Helper()
	i.Launch()
	i.Await("the greeting", i.Greets)
}

// Launch starts master and does not wait.
func (i *Instance) Launch() {
	i.t.Helper()
	errs, err := os.OpenFile(i.Dir+"/stderr", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0644)
	if err != nil {
		i.t.Fatal(err)
	}
	defer errs.Close()
	cmd := exec.Command(filepath.Join(i.Bin, "master"), "-c", i.Conf)
	cmd.Stdout, cmd.Stderr = errs, errs // a file: no pipe that a daemon left behind holds open
	cmd.Env = append(os.Environ(), "TZ=UTC")
	cmd.Dir = "/"
	// A test that is ended by its time limit leaves nothing running.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: i.cred, Pdeathsig: syscall.SIGTERM}
	if i.Stdout != nil {
		cmd.Stdout = i.Stdout
	}
	if i.Private != "" {
		i.private(cmd)
	}
	if i.Wrap != nil {
		i.Wrap(cmd)
	}
	if err := onThread(cmd.Start); err != nil {
		i.t.Fatal(err)
	}
	exited := make(chan struct{})
	i.cmd, i.exited = cmd, exited
	go func() { cmd.Wait(); close(exited) }()
}

// Exited says whether master is gone.
func (i *Instance) Exited() bool {
	if i.cmd == nil {
		return true
	}
	select {
	case <-i.exited:
		return true
	default:
		return false
	}
}

// Greets says whether the SMTP server greets. The test fails at once when master is gone.
func (i *Instance) Greets() bool {
	i.t.Helper()
	if i.Exited() {
		i.t.Fatalf("master has ended: %s", i.cmd.ProcessState)
	}
	c, err := net.DialTimeout("tcp", i.Addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	b := make([]byte, 4)
	if _, err := c.Read(b); err != nil {
		return false
	}
	c.Write([]byte("QUIT\r\n"))
	return string(b) == "220 "
}

// Patience is how long Await waits.
const Patience = 30 * time.Second

// Await polls until the condition holds; the test fails when it does not in time.
func (i *Instance) Await(what string, condition func() bool) {
	i.t.Helper()
	for pause, end := time.Millisecond, time.Now().Add(Patience); ; pause = min(2*pause, 20*time.Millisecond) {
		if condition() {
			return
		}
		if time.Now().After(end) {
			i.t.Fatalf("waited %v in vain for %s", Patience, what)
		}
		time.Sleep(pause)
	}
}

// nobody is the user that a test run by root starts the system as, or nil.
func nobody(t testing.TB) *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatalf("a test run by root needs the user nobody: %v", err)
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// loopback finds a loopback address of this instance's own: nothing else binds there,
// so its port stays free while the system is down.
func loopback(t testing.TB) string {
	for range 100 {
		addr := fmt.Sprintf("127.%d.%d.%d:%s", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254), port)
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free loopback address")
	return ""
}

// Tmpfs mounts a small file system at the queue directory and unmounts it when the test
// ends. It needs root, and must come before the start.
func (i *Instance) Tmpfs(bytes int64) error {
	opts := fmt.Sprintf("size=%d,mode=0755", bytes)
	if i.cred != nil {
		opts += fmt.Sprintf(",uid=%d,gid=%d", i.cred.Uid, i.cred.Gid)
	}
	if err := syscall.Mount("tmpfs", i.Queue, "tmpfs", 0, opts); err != nil {
		return err
	}
	i.t.Cleanup(func() { i.Kill(); syscall.Unmount(i.Queue, syscall.MNT_DETACH) })
	return nil
}

// Files lists the regular files below a directory of the queue, by name and size.
func (i *Instance) Files(dir string) map[string]int64 {
	found := map[string]int64{}
	filepath.WalkDir(filepath.Join(i.Queue, dir), func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if st, err := d.Info(); err == nil {
				name, _ := filepath.Rel(i.Queue, p)
				found[name] = st.Size()
			}
		}
		return nil
	})
	return found
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}
