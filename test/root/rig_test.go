// Package root tests what only a system that root started can show: who each daemon is,
// what it holds and may do, who owns the queue, and submission by the set-gid postdrop.
// Without uid 0 every test is skipped. It needs strace and Debian's postfix package, as
// .ci/run installs them, and makes the accounts of the suite when they are missing.
package root

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"postrider/test/instance"
	"postrider/test/sink"
	"postrider/test/source"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv("ROOT_TEST_CHILD"); mode != "" {
		os.Exit(child(mode))
	}
	code := m.Run()
	if house.dir != "" {
		removeHouse()
	}
	os.Exit(code)
}

// account is a user as numbers.
type account struct {
	name     string
	uid, gid int
	groups   []int // supplementary
}

func (a account) credential() *syscall.Credential {
	c := &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	for _, g := range a.groups {
		c.Groups = append(c.Groups, uint32(g))
	}
	return c
}

// house is what all tests of a run share: programs with a set-gid postdrop, and a user.
var house struct {
	once  sync.Once
	err   error
	dir   string // everything is in it
	bin   string
	conf  string // where postdrop believes the configuration to be
	mu    sync.Mutex
	allow []string // alternate_config_directories

	accounts map[string]account // by program
	postdrop int                // the group
	user     account
	home     string
}

// build skips without root, and makes the house once.
func build(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: daemons run under accounts of their own")
	}
	programs := instance.Programs(t)
	house.once.Do(func() { house.err = makeHouse(programs) })
	if house.err != nil {
		t.Fatal(house.err)
	}
}

func makeHouse(programs string) (err error) {
	h := &house
	if err := instance.Accounts(); err != nil {
		return fmt.Errorf("make accounts: %w", err)
	}
	if h.dir, err = os.MkdirTemp("", "postrider-root-"); err != nil {
		return err
	}
	h.bin, h.conf, h.home = h.dir+"/bin", h.dir+"/etc", h.dir+"/home"
	os.Chmod(h.dir, 0755)
	for _, d := range []string{h.bin, h.conf} {
		if err := os.Mkdir(d, 0755); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(programs)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); name != "postdrop" && name != "lock" && name != "done" {
			os.Symlink(filepath.Join(programs, name), filepath.Join(h.bin, name))
		}
	}
	os.Symlink("master", h.bin+"/postrider") // as make does
	os.Symlink("sendmail", h.bin+"/mailq")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-s -w -X postrider/lib/config.DefaultDir="+h.conf, "-o", h.bin+"/postdrop", "postrider/cmd/postdrop")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build postdrop: %w\n%s", err, out)
	}
	h.accounts = map[string]account{}
	for program, name := range map[string]string{"cleanup": "postrider-msg", "qmgr": "postrider", "smtpd": "postrider-in",
		"smtp": "postrider-out", "bounce": "postrider-bounce", "local": "root", "master": "root"} {
		if h.accounts[program], err = lookup(name); err != nil {
			return err
		}
	}
	g, err := user.LookupGroup("postdrop")
	if err != nil {
		return err
	}
	h.postdrop, _ = strconv.Atoi(g.Gid)
	msg := h.accounts["cleanup"]
	msg.groups = []int{h.postdrop} // it reads what postdrop wrote
	h.accounts["cleanup"] = msg
	if err := errors.Join(os.Chown(h.bin+"/postdrop", 0, h.postdrop), os.Chmod(h.bin+"/postdrop", os.ModeSetgid|0755)); err != nil {
		return err
	}
	return makeUser()
}

// userPrefix is that of users made for a test; the process id follows.
const userPrefix = "prt-"

func makeUser() error {
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	for _, m := range regexp.MustCompile(`(?m)^`+userPrefix+`(\d+):`).FindAllSubmatch(passwd, -1) { // of a run that was killed
		if pid, _ := strconv.Atoi(string(m[1])); errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			exec.Command("userdel", userPrefix+string(m[1])).Run()
		}
	}
	name := userPrefix + strconv.Itoa(os.Getpid())
	cmd := exec.Command("useradd", "--user-group", "--no-create-home", "--home-dir", house.home, "--shell", "/usr/sbin/nologin", name)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("useradd: %w: %s", err, out)
	}
	if house.user, err = lookup(name); err != nil {
		return err
	}
	return errors.Join(os.Mkdir(house.home, 0700), os.Chown(house.home, house.user.uid, house.user.gid))
}

func (a account) String() string { return fmt.Sprintf("%s(%d:%d)", a.name, a.uid, a.gid) }

func lookup(name string) (account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, err
	}
	a := account{name: name}
	a.uid, _ = strconv.Atoi(u.Uid)
	a.gid, _ = strconv.Atoi(u.Gid)
	return a, nil
}

func removeHouse() {
	if house.user.name != "" {
		exec.Command("userdel", house.user.name).Run()
	}
	os.RemoveAll(house.dir)
}

// system writes an instance that root will start. The set-gid postdrop trusts its
// configuration.
func system(t *testing.T, lines ...string) *instance.Instance {
	t.Helper()
	build(t)
	i := instance.AsRoot(t, house.bin, append([]string{"alias_maps = inline:{ {root = " + house.user.name + "} {postmaster = root} }"}, lines...)...)
	t.Cleanup(func() { // also of a master in the background
		if i.Run("master", "status").Code == 0 {
			i.Run("master", "abort")
		}
	})
	house.mu.Lock()
	defer house.mu.Unlock()
	house.allow = append(house.allow, i.Conf)
	text := "alternate_config_directories = " + strings.Join(house.allow, " ") + "\nqueue_directory = /nonexistent\n"
	if err := os.WriteFile(house.conf+"/main.cf.new", []byte(text), 0644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(house.conf+"/main.cf.new", house.conf+"/main.cf"); err != nil {
		t.Fatal(err)
	}
	return i
}

// route sends a domain to a sink.
func route(domain string, far *sink.Sink) string {
	return "transport_maps = inline:{ {" + domain + " = smtp:" + far.NextHop() + "} }"
}

// send gives a message to the system by SMTP and returns its queue id.
func send(t *testing.T, i *instance.Instance, m *source.Message) string {
	t.Helper()
	o, err := source.Send1(i.Addr, m, nil)
	if err != nil || o.QueueID == "" {
		t.Fatalf("%s: %v, %+v", m.ID, err, o)
	}
	return o.QueueID
}

// submit gives a message to the system by sendmail, as the user.
func submit(t *testing.T, i *instance.Instance, text string, args ...string) {
	t.Helper()
	if r := i.RunAs(house.user.credential(), text, "sendmail", args...); r.Code != 0 || r.Stderr+r.Stdout != "" {
		t.Fatalf("sendmail %v: %+v", args, r)
	}
}

// inbox are the user's messages that contain text, as files.
func inbox(t *testing.T, text string) (found []string) {
	t.Helper()
	files, _ := filepath.Glob(house.home + "/Maildir/new/*")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(text)) {
			found = append(found, f)
		}
	}
	return found
}

// daemons are the processes below master, which must be all there.
func daemons(t *testing.T, i *instance.Instance) []instance.Process {
	t.Helper()
	i.Await("all daemons", func() bool {
		for _, name := range []string{"cleanup", "qmgr", "bounce", "local", "smtp", "smtpd"} {
			if len(i.PIDs(name)) == 0 {
				return false
			}
		}
		return true
	})
	return slices.DeleteFunc(i.Processes(), func(p instance.Process) bool { return p.Name == "master" })
}
