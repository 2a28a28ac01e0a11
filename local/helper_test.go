package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/proto"
)

// start starts a helper as it stands, with our own rights, and gives it the first
// blocks of a message.
func start(t *testing.T, dir string, text ...string) (*exec.Cmd, io.WriteCloser, *limited) {
	t.Helper()
	self, err := executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, helperArg)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answer := &limited{max: 5000}
	cmd.Stdout = answer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first, err := json.Marshal(&job{Maildir: &maildir{Dir: dir, Host: "h"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range append([]string{string(first)}, text...) {
		if err := writeBlock(in, []byte(b)); err != nil {
			t.Fatalf("block %d: %v", i, err)
		}
	}
	return cmd, in, answer
}

// A message that breaks off leaves nothing, a helper that is killed at most a file in
// tmp/.
func TestHelperCut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	cmd, in, answer := start(t, dir, "Subject: x\n", strings.Repeat("y", 70000))
	in.Close()
	if err := cmd.Wait(); err != nil || !strings.HasPrefix(string(answer.b), ".{") || !strings.Contains(string(answer.b), "cut short") {
		t.Errorf("%v, %q", err, answer.b)
	}
	if got := read(t, dir); len(got) != 0 {
		t.Errorf("%d messages", len(got))
	}

	cmd, in, _ = start(t, dir, strings.Repeat("y", 70000), strings.Repeat("z", 70000))
	waitFor(t, func() bool { l, _ := os.ReadDir(filepath.Join(dir, "tmp")); return len(l) == 1 })
	cmd.Process.Kill()
	cmd.Wait()
	in.Close()
	if l, _ := os.ReadDir(filepath.Join(dir, "new")); len(l) != 0 {
		t.Errorf("%d messages", len(l))
	}

	cmd, in, answer = start(t, filepath.Join(t.TempDir(), "m"), "whole", "")
	if err := cmd.Wait(); err != nil || !strings.Contains(string(answer.b), "delivered to maildir") {
		t.Errorf("%v, %q", err, answer.b)
	}
	in.Close()
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

func TestKinds(t *testing.T) {
	for _, c := range []struct {
		err error
		dsn string
	}{
		{unix.EDQUOT, "4.2.2"}, {unix.ENOSPC, "4.3.0"}, {unix.EIO, "4.2.0"}, {unix.EACCES, "4.2.0"}, {errCut, "4.2.0"},
	} {
		err := fmt.Errorf("x: %w", &os.PathError{Op: "write", Path: "/p", Err: c.err})
		if st := statusOf(err); st.DSN != c.dsn || st.Class.String() != "deferred" || !strings.Contains(st.Text, c.err.Error()) {
			t.Errorf("%v: %+v", c.err, st)
		}
	}
}

const (
	nobody = 65534
	passwd = "root:x:0:0::%[1]s/root:/bin/sh\nbob:x:65534:65534::%[1]s/bob:/bin/sh\neve:x:65534:65534::%[1]s/eve:/bin/sh\nbad line\nneg:x:-1:4294967295::/:/x\n"
	group  = "mail:x:8:other,bob\nusers:x:100:bob\n"
)

// asRoot makes a rig whose users have homes below a directory that everybody may
// pass through.
func asRoot(t *testing.T, settings ...string) (r *rig, homes string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: helpers become another user")
	}
	homes = t.TempDir()
	for _, d := range []string{filepath.Dir(homes), homes} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, uid := range map[string]int{"root": 0, "bob": nobody, "eve": nobody} {
		home := filepath.Join(homes, name)
		if err := errors.Join(os.Mkdir(home, 0o700), os.Chown(home, uid, uid)); err != nil {
			t.Fatal(err)
		}
	}
	f := files{"/etc/passwd": fmt.Sprintf(passwd, homes), "/etc/group": group, "/etc/aliases": "team: bob\n"}
	return newRig(t, true, f, append([]string{"home_mailbox=Maildir/"}, settings...)...), homes
}

func TestHelperAsUser(t *testing.T) {
	r, homes := asRoot(t)
	says(t, r.do(request(letter, "bob@example.com")), "sent 2.0.0 delivered to maildir")
	says(t, r.do(request(letter, "Team@example.com")), "sent 2.0.0 delivered to maildir")
	says(t, r.do(request(letter, "root@example.com")), "sent 2.0.0 delivered to maildir")
	says(t, r.do(request(letter, "nosuch@example.com")), `bounced 5.1.1 unknown user: "nosuch"`)
	says(t, r.do(request(letter, "neg@example.com")), `bounced 5.1.1 unknown user: "neg"`)
	if got := read(t, filepath.Join(homes, "bob", "Maildir")); len(got) != 2 || !strings.HasSuffix(got[1], strings.ReplaceAll(letter, "\r\n", "\n")) {
		t.Errorf("%q", got)
	}
	owned(t, filepath.Join(homes, "bob", "Maildir"), nobody)
	owned(t, filepath.Join(homes, "root", "Maildir"), 0)
	if a := r.site.Load().accounts["bob"]; len(a.groups) != 2 || a.groups[0] != 8 || a.groups[1] != 100 {
		t.Errorf("groups %v", a.groups)
	}
}

// The maildir of a route belongs to default_privs.
func TestRoutedAsNobody(t *testing.T) {
	r, homes := asRoot(t, "default_privs=bob")
	q := request(letter, "root@store.test")
	q.NextHop = proto.MaildirHop + homes + "/bob/$domain/$user"
	says(t, r.do(q), "sent 2.0.0 delivered to maildir")
	owned(t, filepath.Join(homes, "bob", "store.test"), nobody)
	q.NextHop = proto.MaildirHop + homes + "/root/$user"
	says(t, r.do(q), "deferred 4.2.0 maildir delivery failed: ")
}

// owned checks the owner of everything below dir, and that nobody else may look.
func owned(t *testing.T, dir string, uid uint32) {
	t.Helper()
	n := 0
	filepath.Walk(dir, func(path string, st os.FileInfo, err error) error {
		if err != nil {
			t.Error(err)
			return nil
		}
		n++
		if st.Sys().(*syscall.Stat_t).Uid != uid || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: uid %d, %v", path, st.Sys().(*syscall.Stat_t).Uid, st.Mode())
		}
		return nil
	})
	if n < 5 {
		t.Errorf("%d files in %s", n, dir)
	}
}

// What a user has made of his Maildir can hurt nobody else.
func TestHelperTricks(t *testing.T) {
	r, homes := asRoot(t)
	secret := filepath.Join(homes, "secret") // root's
	for _, d := range []string{secret, secret + "/tmp", secret + "/new", secret + "/cur"} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(secret, filepath.Join(homes, "eve", "Maildir")); err != nil {
		t.Fatal(err)
	}
	says(t, r.do(request(letter, "eve@example.com")), "deferred 4.2.0 maildir delivery failed: ")
	if got := read(t, secret); len(got) != 0 {
		t.Errorf("written with root's rights: %q", got)
	}
	os.Remove(filepath.Join(homes, "eve", "Maildir"))
	if err := os.WriteFile(filepath.Join(homes, "eve", "Maildir"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	says(t, r.do(request(letter, "eve@example.com")), "deferred 4.2.0 maildir delivery failed: ")
	if err := os.RemoveAll(filepath.Join(homes, "eve")); err != nil {
		t.Fatal(err)
	}
	says(t, r.do(request(letter+strings.Repeat("x", 1<<20), "eve@example.com")), "deferred 4.2.0 maildir delivery failed: ") // and all of it is written to a pipe that nobody reads
	if _, err := os.Stat(filepath.Join(homes, "eve")); err == nil {
		t.Error("a home was made")
	}
}

// Without home_mailbox a user gets a directory below mail_spool_directory.
func TestSpoolAsRoot(t *testing.T) {
	r, _ := asRoot(t, "home_mailbox=")
	if err := errors.Join(os.Chmod(filepath.Dir(filepath.Dir(r.dir)), 0o755), os.Chmod(filepath.Dir(r.dir), 0o755), os.Mkdir(r.dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		says(t, r.do(request(letter, "bob@example.com")), "sent")
	}
	if got := read(t, filepath.Join(r.dir, "bob")); len(got) != 2 {
		t.Errorf("%q", got)
	}
	owned(t, filepath.Join(r.dir, "bob"), nobody)

	if err := os.Symlink("/", filepath.Join(r.dir, "eve")); err != nil {
		t.Fatal(err)
	}
	says(t, r.do(request(letter, "eve@example.com")), "deferred 4.2.0")

}

// A full disk defers, and leaves nothing; with room again the mail arrives.
func TestDiskFull(t *testing.T) {
	r, homes := asRoot(t)
	disk := filepath.Join(homes, "bob")
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=256k,uid=65534,gid=65534,mode=0700"); err != nil {
		t.Logf("cannot mount a small disk (%v): TestKinds has to do", err)
		return
	}
	t.Cleanup(func() { unix.Unmount(disk, 0) })
	says(t, r.do(request(letter+strings.Repeat("x", 1<<20), "bob@example.com")), "deferred 4.3.0 maildir delivery failed: ")
	if got := read(t, filepath.Join(disk, "Maildir")); len(got) != 0 {
		t.Errorf("%d messages", len(got))
	}
	says(t, r.do(request(letter, "bob@example.com")), "sent")
}

// A helper that dies says nothing, and the mail stays.
func TestHelperDies(t *testing.T) {
	r, homes := asRoot(t)
	s := *r.site.Load()
	a := *s.accounts["bob"]
	m := maildir{Dir: filepath.Join(homes, "bob", "Maildir"), Host: "h"}
	st := runHelper(&a, &job{Maildir: &m}, func(w io.Writer) error {
		if _, err := io.WriteString(w, strings.Repeat("x", 200000)); err != nil {
			return err
		}
		waitFor(t, func() bool { l, _ := os.ReadDir(filepath.Join(m.Dir, "tmp")); return len(l) == 1 })
		killChild(t, a.uid)
		return nil
	}).Status
	if st.Class.String() != "deferred" || !strings.Contains(st.Text, "ended without an answer") {
		t.Errorf("%+v", st)
	}
	if l, _ := os.ReadDir(filepath.Join(m.Dir, "new")); len(l) != 0 {
		t.Errorf("%d messages", len(l))
	}
}

// A helper that hangs, as in a file server's hands, is killed when its time is over,
// although it is another user's process: the mail stays, and nothing waits any longer.
func TestHelperHangs(t *testing.T) {
	r, homes := asRoot(t)
	old := helperTime
	defer func() { helperTime = old }()
	helperTime = 300 * time.Millisecond
	a := *r.site.Load().accounts["bob"]
	m := maildir{Dir: filepath.Join(homes, "bob", "Maildir"), Host: "h"}
	for _, size := range []int{1000, 1 << 20} { // it hangs with all it needs, and with more to come
		var pid int
		began := time.Now()
		st := runHelper(&a, &job{Maildir: &m}, func(w io.Writer) error {
			pid = signalChild(t, a.uid, unix.SIGSTOP)
			_, err := io.WriteString(w, strings.Repeat("x", size))
			return err
		}).Status
		if st.Class.String() != "deferred" || !strings.Contains(st.Text, "ended without an answer: signal: killed") {
			t.Errorf("%d bytes: %+v", size, st)
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("%d bytes: waited %v", size, d)
		}
		if err := unix.Kill(pid, 0); err != unix.ESRCH {
			t.Errorf("the helper is still there: %v", err)
		}
	}
}

func killChild(t *testing.T, uid uint32) { t.Helper(); signalChild(t, uid, unix.SIGKILL) }

// signalChild signals the child of this process that has the uid.
func signalChild(t *testing.T, uid uint32, signal unix.Signal) (pid int) {
	t.Helper()
	list, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "status"))
		if err == nil && strings.Contains(string(b), fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())) &&
			strings.Contains(string(b), fmt.Sprintf("\nUid:\t%d\t", uid)) {
			if !strings.Contains(string(b), "\nGroups:\t8 100 \n") {
				t.Errorf("the helper's groups: %s", b)
			}
			unix.Kill(pid, signal)
			return pid
		}
	}
	t.Fatal("no child with the recipient's uid")
	return 0
}
