package postdrop

import (
	"bytes"
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

	"postrider/lib/mail"
	"postrider/lib/maildrop"
)

var program string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "postdrop-test")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "postdrop")
	build := exec.Command("go", "build", "-o", program, "postrider/cmd/postdrop")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %s", err, out))
	}
	return m.Run()
}

// instance makes a configuration and a queue directory.
func instance(t *testing.T, more string) (conf, queue string) {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Dir(program), "") // others can get there
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	conf, queue = filepath.Join(dir, "conf"), filepath.Join(dir, "queue")
	for _, d := range []string{conf, queue, filepath.Join(queue, "maildrop"), filepath.Join(queue, "public")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	setMain(t, conf, "queue_directory = "+queue+"\nmessage_size_limit = 1000000\n"+more)
	return conf, queue
}

func setMain(t *testing.T, conf, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(conf, "main.cf"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func message(t *testing.T, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := maildrop.NewWriter(&b, &maildrop.Submission{UID: 99, Sender: "a@b", Recipients: []mail.Address{"c@d"}})
	io.WriteString(w, content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// files lists maildrop/.
func files(t *testing.T, queue string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(queue, "maildrop"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// drop runs the program and returns its exit code and all it said.
func drop(in []byte, change func(*exec.Cmd), args ...string) (int, string) {
	cmd := exec.Command(program, args...)
	cmd.Stdin = bytes.NewReader(in)
	cmd.Env = []string{}
	if change != nil {
		change(cmd)
	}
	out, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestDrop(t *testing.T) {
	conf, queue := instance(t, "")
	code, said := drop(message(t, "x: y\r\n\r\nbody\r\n"), nil, "-c", conf, "-r")
	names := files(t, queue)
	if code != 0 || len(names) != 1 || said != "0 "+names[0]+"\n" {
		t.Fatalf("%d %q, %q", code, said, names)
	}
	f, err := os.Open(filepath.Join(queue, "maildrop", names[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, _ := f.Stat(); st.Mode() != 0o644 {
		t.Errorf("mode %v", st.Mode())
	}
	r := maildrop.NewReader(f)
	s, err := r.Submission()
	if err != nil || int(s.UID) != os.Getuid() || time.Since(s.Time) > time.Hour || s.Sender != "a@b" {
		t.Errorf("%+v, %v", s, err)
	}
	if p, err := r.Next(); string(p) != "x: y\r\n\r\nbody\r\n" || err != nil {
		t.Errorf("%q, %v", p, err)
	}
	if code, said := drop(message(t, ""), nil, "-c", conf); code != 0 || said != "" {
		t.Errorf("without -r: %d %q", code, said)
	}
}

// TestRefused: each ends with its code, says why, and leaves nothing.
func TestRefused(t *testing.T) {
	conf, queue := instance(t, "")
	other, _ := instance(t, "authorized_submit_users = !root, nobody-else\n")
	good := message(t, "x: y\r\n\r\n")
	var none bytes.Buffer
	if err := maildrop.NewWriter(&none, &maildrop.Submission{Sender: "a"}).Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		in   []byte
		args string
		code int
		said string
	}{
		"usage":         {good, "-c " + conf + " -r file", 64, "usage"},
		"no options":    {good, "-c " + conf + " -z", 64, "usage"},
		"not complete":  {good[:len(good)-1], "-c " + conf + " -r", 65, "incomplete"},
		"empty":         {nil, "-c " + conf, 65, "incomplete"},
		"garbage":       {[]byte("From: me\n\nhello\n"), "-c " + conf + " -r", 65, "malformed"},
		"no recipients": {none.Bytes(), "-c " + conf, 65, "no recipients"},
		"too big":       {message(t, strings.Repeat("x", 1000001)), "-c " + conf, 69, "too big"},
		"no main.cf":    {good, "-c /no/such/directory", 78, "main.cf"},
	} {
		code, said := drop(c.in, nil, strings.Fields(c.args)...)
		report := strings.HasPrefix(said, fmt.Sprintf("%d ", c.code))
		if code != c.code || !strings.Contains(said, c.said) || report != strings.Contains(c.args, "-r") ||
			!report && !strings.HasPrefix(said, "postdrop: fatal: ") {
			t.Errorf("%s: %d %q", name, code, said)
		}
	}
	if os.Getuid() != 0 {
		if code, said := drop(good, nil, "-c", other); code != 77 || !strings.Contains(said, "is not allowed to submit mail") {
			t.Errorf("not allowed: %d %q", code, said)
		}
	}
	if names := files(t, queue); len(names) != 0 {
		t.Errorf("left: %q", names)
	}
}

// TestCut: input that ends anywhere before its end leaves nothing.
func TestCut(t *testing.T) {
	conf, queue := instance(t, "")
	good := message(t, "x: y\r\n\r\n")
	for i := 0; i < len(good); i += 7 {
		if code, _ := drop(good[:i], nil, "-c", conf); code != 65 {
			t.Errorf("cut at %d: %d", i, code)
		}
	}
	if names := files(t, queue); len(names) != 0 {
		t.Errorf("left: %q", names)
	}
}

// TestSignal: a signal removes the unfinished file.
func TestSignal(t *testing.T) {
	conf, queue := instance(t, "")
	cmd := exec.Command(program, "-c", conf)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Write(message(t, strings.Repeat("x", 300000))[:200000])
	for end := time.Now().Add(20 * time.Second); len(files(t, queue)) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no temporary file")
		}
	}
	if names := files(t, queue); !maildrop.Temporary(names[0]) {
		t.Errorf("%q", names)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	if names := files(t, queue); len(names) != 0 || cmd.ProcessState.ExitCode() != 128+15 {
		t.Errorf("%v, left %q", cmd.ProcessState, names)
	}
}

// TestCaller: what a caller can leave behind does not matter: descriptors, a closed
// standard error, environment, umask, a limit on file sizes.
func TestCaller(t *testing.T) {
	conf, queue := instance(t, "")
	in := filepath.Join(filepath.Dir(conf), "in")
	if err := os.WriteFile(in, message(t, strings.Repeat("x", 100000)), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"descriptors": `exec 3</etc/passwd 4</dev/null 9>/dev/null`,
		"no stderr":   `exec 2>&-`,
		"no stdout":   `exec >&-`,
		"environment": `export GODEBUG=x GOGC=1 GOMAXPROCS=1 TZ=:/etc/shadow TMPDIR=/x LD_PRELOAD=x GOTRACEBACK=crash`,
		"umask":       `umask 0`,
		"umask 777":   `umask 777`,
		"signals":     `trap '' PIPE ALRM HUP`,
	} {
		cmd := exec.Command("sh", "-c", script+`; exec "$0" -c "$1" <"$2"`, program, conf, in)
		out, err := cmd.CombinedOutput()
		names := files(t, queue)
		if err != nil || len(names) != 1 {
			t.Fatalf("%s: %v %q, %q", name, err, out, names)
		}
		path := filepath.Join(queue, "maildrop", names[0])
		if st, _ := os.Stat(path); st.Mode() != 0o644 {
			t.Errorf("%s: mode %v", name, st.Mode())
		}
		os.Remove(path)
	}
	cmd := exec.Command("sh", "-c", `ulimit -f 1; exec "$0" -c "$1" <"$2"`, program, conf, in)
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 75 || len(files(t, queue)) != 0 {
		t.Errorf("file size limit: %d %q, left %q", code, out, files(t, queue))
	}
}

// TestConfigDirectory: set-gid, only the default main.cf says which directories may
// be named.
func TestConfigDirectory(t *testing.T) {
	allowed, _ := instance(t, "")
	other, _ := instance(t, "")
	def, _ := instance(t, "alternate_config_directories = /x, "+allowed+"\n")
	e := &env{setgid: true, uid: 1000, defaultConfig: def}
	for dir, ok := range map[string]bool{"": true, def: true, allowed: true, other: false, allowed + "/../conf": false} {
		c, err := e.config(dir)
		var f *failure
		if ok != (err == nil) || !ok && (!errors.As(err, &f) || f.code != 77) {
			t.Errorf("%q: %v", dir, err)
		}
		if ok && dir != "" && c.Dir() != dir {
			t.Errorf("%q: read %q", dir, c.Dir())
		}
	}
	e.setgid = false
	if _, err := e.config(other); err != nil {
		t.Error(err)
	}
}

func TestAuthorize(t *testing.T) {
	for users, ok := range map[string]bool{
		"static:anyone": true, "static:all": true, "": false, "nobody": true, "!nobody": false, "!nobody, static:all": false, "root": false, "!root, nobody": true, "hash:/x": false,
	} {
		conf, _ := instance(t, "authorized_submit_users = "+users+"\n")
		e := &env{uid: 65534, defaultConfig: conf}
		c, err := e.config("")
		if err != nil {
			t.Fatal(err)
		}
		if err := e.authorize(c); ok != (err == nil) {
			t.Errorf("%q: %v", users, err)
		}
		if e.uid = 0; e.authorize(c) != nil {
			t.Errorf("%q: root may not", users)
		}
	}
}

// TestUnprivileged: a caller who is only in the group of maildrop/, and can neither
// list nor open it, submits; another caller cannot read the file. Set-gid, a
// directory of the caller's choice is refused.
func TestUnprivileged(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to act as other users")
	}
	const user, group, owner = 65534, 61234, 61235
	conf, queue := instance(t, "")
	dir := filepath.Join(queue, "maildrop")
	if err := os.Chown(dir, owner, group); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o730); err != nil {
		t.Fatal(err)
	}
	as := func(uid, gid uint32) func(*exec.Cmd) {
		return func(c *exec.Cmd) {
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
		}
	}
	if code, said := drop(message(t, "x"), as(user, user), "-c", conf); code != 75 {
		t.Errorf("not in the group: %d %q", code, said)
	}
	if code, said := drop(message(t, "x"), as(user, group), "-c", conf); code != 0 {
		t.Fatalf("in the group: %d %q", code, said)
	}
	names := files(t, queue)
	if len(names) != 1 {
		t.Fatalf("%q", names)
	}
	path := filepath.Join(dir, names[0])
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil || st.Uid != user {
		t.Errorf("%v, owner %d", err, st.Uid)
	}
	cat := func(uid, gid uint32) error {
		c := exec.Command("cat", path)
		as(uid, gid)(c)
		return c.Run()
	}
	if err := cat(owner, owner); err != nil {
		t.Errorf("cleanup cannot read it: %v", err)
	}
	if cat(61236, 61236) == nil {
		t.Error("everybody can read it")
	}

	setgid := program + ".setgid"
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(setgid, b, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(setgid, 0, group); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(setgid, os.ModeSetgid|0o755); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*exec.Cmd){
		"-c":          func(c *exec.Cmd) { c.Args = append(c.Args, "-c", conf) },
		"MAIL_CONFIG": func(c *exec.Cmd) { c.Env = []string{"MAIL_CONFIG=" + conf} },
	} {
		code, said := drop(message(t, "x"), func(c *exec.Cmd) {
			c.Path = setgid
			as(user, user)(c)
			change(c)
		})
		if code != 77 && code != 78 || len(files(t, queue)) != 1 {
			t.Errorf("set-gid with %s: %d %q", name, code, said)
		}
	}
}

// TestImports: nothing but the standard library, x/sys and small packages of ours
// is in the set-gid program, and nothing of C.
func TestImports(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}} {{len .CgoFiles}}{{end}}", "postrider/cmd/postdrop")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{"golang.org/x/sys/unix 0": true, "postrider/lib/mail 0": true, "postrider/lib/maildrop 0": true,
		"postrider/lib/getopt 0": true, "postrider/lib/config 0": true, "postrider/lib/sysexits 0": true, "postrider/lib/manual 0": true, "postrider/postdrop 0": true, "postrider/cmd/postdrop 0": true}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if !allowed[line] {
			t.Errorf("linked in: %s", line)
		}
	}
}
