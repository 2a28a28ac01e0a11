package sendmail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"postrider/lib/maildrop"
)

var bin string // where the programs are

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sendmail-test")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	bin = dir
	build := exec.Command("go", "build", "-o", dir+"/", "postrider/cmd/sendmail", "postrider/cmd/postdrop", "postrider/cmd/postmap")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %s", err, out))
	}
	for name, is := range map[string]string{"mailq": "sendmail", "newaliases": "sendmail", "postalias": "postmap"} {
		if err := os.Symlink(is, filepath.Join(dir, name)); err != nil {
			panic(err)
		}
	}
	return m.Run()
}

// TestScripts runs testdata/*.txtar with the real programs. Two commands are added:
//
//	run CODE INPUT program args...   standard input from a file, the exit code checked
//	dropped                          the only file in maildrop/, shown in "out", removed
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			queue := filepath.Join(e.WorkDir, "queue")
			for _, d := range []string{"maildrop", "public"} {
				if err := os.MkdirAll(filepath.Join(queue, d), 0o755); err != nil {
					return err
				}
			}
			conf := filepath.Join(e.WorkDir, "conf")
			if err := os.MkdirAll(conf, 0o755); err != nil {
				return err
			}
			main := "queue_directory = " + queue + "\nmyhostname = mx.example\nmessage_size_limit = 200000\n"
			e.Setenv("MAIL_CONFIG", conf)
			e.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			e.Setenv("NAME", "Alice A.")
			return os.WriteFile(filepath.Join(conf, "main.cf"), []byte(main), 0o644)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"run": runCode, "dropped": dropped},
	})
}

func runCode(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: run CODE INPUT program args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	path := filepath.Join(bin, args[2])
	if strings.Contains(args[2], "/") {
		path = args[2]
	}
	cmd := exec.Command(path, args[3:]...)
	cmd.Dir = ts.Getenv("WORK")
	for _, name := range []string{"PATH", "MAIL_CONFIG", "NAME", "HOME"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	if args[1] != "-" {
		in, err := os.Open(ts.MkAbs(args[1]))
		ts.Check(err)
		defer in.Close()
		cmd.Stdin = in
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	ts.Check(os.WriteFile(ts.MkAbs("said"), out.Bytes(), 0o644))
	ts.Logf("%s", out.Bytes())
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	if code := cmd.ProcessState.ExitCode(); code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

func dropped(ts *testscript.TestScript, _ bool, _ []string) {
	dir := ts.MkAbs("queue/maildrop")
	entries, err := os.ReadDir(dir)
	ts.Check(err)
	if len(entries) != 1 {
		ts.Fatalf("%d files in maildrop/: %v", len(entries), entries)
	}
	path := filepath.Join(dir, entries[0].Name())
	if !maildrop.ValidName(entries[0].Name()) {
		ts.Fatalf("name %q", entries[0].Name())
	}
	f, err := os.Open(path)
	ts.Check(err)
	defer f.Close()
	st, err := f.Stat()
	ts.Check(err)
	r := maildrop.NewReader(f)
	s, err := r.Submission()
	ts.Check(err)
	var b strings.Builder
	fmt.Fprintf(&b, "mode %v from <%s> %q", st.Mode(), s.Sender, s.FullName)
	if int(s.UID) != os.Getuid() || s.Time.IsZero() {
		ts.Fatalf("%+v", s)
	}
	if s.EnvID+s.Ret != "" || s.Notify != 0 || s.Body != 0 {
		fmt.Fprintf(&b, " body %d envid %s ret %s notify %d", s.Body, s.EnvID, s.Ret, s.Notify)
	}
	b.WriteString("\n")
	for _, a := range s.Recipients {
		fmt.Fprintf(&b, "to <%s>\n", a)
	}
	for {
		p, err := r.Next()
		if err == io.EOF {
			break
		}
		ts.Check(err)
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(string(p), "\r\n", "\n"), "\r", "\\r"))
	}
	ts.Check(os.WriteFile(ts.MkAbs("out"), []byte(b.String()), 0o644))
	ts.Check(os.Remove(path))
}

// lines reads everything through an input.
func lines(t *testing.T, in string, size int, dots bool) string {
	t.Helper()
	i := newInput(pieces{strings.NewReader(in), size}, dots)
	var b []byte
	for {
		var err error
		if b, err = i.next(b); err == io.EOF {
			return string(b)
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

type pieces struct {
	r    io.Reader
	size int
}

func (p pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.size)]) }

func TestInput(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"a\nb\r\nc", "a\r\nb\r\nc\r\n"},
		{"\n\n", "\r\n\r\n"},
		{"From x Mon\na\nFrom y\n", "a\r\nFrom y\r\n"},
		{"From " + long + "\r\na\n", "a\r\n"},
		{"From x", ""},
		{"a\n.\nb\n", "a\r\n"},
		{"a\n.\r\nb\n", "a\r\n"},
		{"a\n.", "a\r\n"},
		{"a\n..\n.b\n", "a\r\n..\r\n.b\r\n"},
		{long + "\n" + long, long + "\r\n" + long + "\r\n"},
		{strings.Repeat("y", 64<<10-1) + "\r\nz\n", strings.Repeat("y", 64<<10-1) + "\r\nz\r\n"},
		{strings.Repeat("y", 64<<10-1) + "\rz\n", strings.Repeat("y", 64<<10-1) + "\rz\r\n"},
		{strings.Repeat("y", 64<<10) + ".\nz", strings.Repeat("y", 64<<10) + ".\r\nz\r\n"},
		{"a\rb\r\r\n", "a\rb\r\r\n"},
		{"a\r", "a\r\n"},
	} {
		for _, size := range []int{1 << 20, 7, 64<<10 - 1} {
			if got := lines(t, c.in, size, false); got != c.want {
				t.Errorf("%.30q: %.60q (%d bytes)", c.in, got, len(got))
			}
		}
	}
	if got := lines(t, "a\n.\nb", 100, true); got != "a\r\n.\r\nb\r\n" {
		t.Errorf("-i: %q", got)
	}
}

func FuzzInput(f *testing.F) {
	f.Add("From a\nb\r\n.\nc\r", 3, true)
	f.Fuzz(func(t *testing.T, in string, size int, dots bool) {
		got := lines(t, in, max(1, size%1000), dots)
		if got != lines(t, in, 1<<20, dots) {
			t.Fatal("pieces matter")
		}
		if got != "" && !strings.HasSuffix(got, "\r\n") || strings.Contains(strings.ReplaceAll(got, "\r\n", ""), "\n") {
			t.Fatalf("%q became %q", in, got)
		}
		if !strings.HasPrefix(got, "From ") && !strings.HasPrefix(got, ">From ") && lines(t, got, 1<<20, true) != got {
			t.Fatalf("%q again becomes %q", got, lines(t, got, 1<<20, true))
		}
	})
}

// TestMillion: a message to a million recipients, half of them in its header, in
// time linear in that.
func TestMillion(t *testing.T) {
	const n = 1000000
	var b bytes.Buffer
	b.WriteString("To: ")
	for i := range n / 2 {
		fmt.Fprintf(&b, "user%d@example.org,\n ", i)
	}
	b.WriteString("last@example.org\nBcc: ")
	for i := range n / 2 {
		fmt.Fprintf(&b, "hidden%d@example.org,\n ", i)
	}
	b.WriteString("\n\nbody\n")
	top, err := readTop(newInput(&b, false), true, 0)
	if err != nil || len(top.recipients) != n+1 || bytes.Contains(top.content, []byte("hidden")) {
		t.Fatalf("%v, %d recipients", err, len(top.recipients))
	}
	var out bytes.Buffer
	w := maildrop.NewWriter(&out, &maildrop.Submission{Recipients: top.recipients})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := maildrop.NewReader(&out).Submission(); err != nil || len(s.Recipients) != n+1 {
		t.Fatal(err)
	}
}

// Every letter that sendmail takes is in its manual.
func TestManual(t *testing.T) {
	text := " "
	for _, i := range Manual().Options {
		text += i.Term + " "
	}
	for _, c := range spec {
		if c != ':' && !strings.Contains(text, " -"+string(c)) {
			t.Errorf("-%c is not in the manual", c)
		}
	}
}
