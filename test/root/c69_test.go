package root

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"postrider/lib/mail"
	"postrider/lib/maildrop"
	"postrider/test/instance"
)

// C69 (reliability.md): whatever a user does to the set-gid postdrop, it either leaves one whole message of
// his, or nothing, and never a core file or a message under another name.
func TestC69Caller(t *testing.T) {
	t.Parallel()
	i := system(t)
	i.Start() // makes the queue
	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}
	other := system(t) // allowed as well
	foreign := house.dir + "/foreign"
	mine := house.home + "/conf"
	for _, dir := range []string{foreign, mine} { // whose queue would be the caller's
		os.MkdirAll(dir+"/queue/maildrop", 0777)
		os.Chmod(dir+"/queue/maildrop", 0777)
		if err := os.WriteFile(dir+"/main.cf", []byte("queue_directory = "+dir+"/queue\n"), 0644); err != nil {
			t.Fatal(err)
		}
	}
	var small, large bytes.Buffer
	write(t, &small, 1000)
	write(t, &large, 5_000_000)
	conf := []string{"MAIL_CONFIG=" + i.Conf}
	with := func(env ...string) []string { return append(env, conf...) }
	argv := []string{"postdrop"}
	shut := 0o777
	home := entries(t, house.home)

	const (
		either = iota // delivered or refused: no half
		whole
		refused
	)
	tests := map[string]struct {
		x    execution
		huge bool
		in   []byte
		says string
		want int
	}{
		"as usual":         {x: execution{Args: argv, Env: conf}, want: whole},
		"no argv":          {x: execution{Args: nil, Env: conf}, want: whole},
		"empty argv[0]":    {x: execution{Args: []string{""}, Env: conf}, want: whole},
		"no stdin":         {x: execution{Args: argv, Env: conf, Close: []int{0}}, want: refused},
		"no stdout":        {x: execution{Args: argv, Env: conf, Close: []int{1}}, want: whole},
		"no stderr":        {x: execution{Args: argv, Env: conf, Close: []int{2}}, want: whole},
		"none of them":     {x: execution{Args: argv, Env: conf, Close: []int{0, 1, 2}}, want: refused},
		"huge environment": {x: execution{Args: argv}, huge: true, want: whole},
		"runtime settings": {x: execution{Args: argv, Env: with("GODEBUG=inittrace=1,gctrace=1,schedtrace=1,dontfreezetheworld=1,invalidptr=0,panicnil=1,asyncpreemptoff=1",
			"GOGC=1", "GOMAXPROCS=100", "GOTRACEBACK=crash", "GOCOVERDIR="+foreign, "GOROOT="+foreign, "GORACE=log_path="+foreign+"/race")}, want: whole},
		"no memory by wish": {x: execution{Args: argv, Env: with("GOMEMLIMIT=1", "GOGC=off")}, want: whole},
		"other programs": {x: execution{Args: argv, Env: with("LD_PRELOAD=/x.so", "LD_LIBRARY_PATH="+foreign, "IFS=/", "PATH="+foreign,
			"TMPDIR="+foreign, "HOME="+foreign, "LOCALDOMAIN=x", "RES_OPTIONS=debug", "HOSTALIASES="+foreign+"/h")}, want: whole},
		"a time zone":            {x: execution{Args: argv, Env: with("TZ=:/proc/self/mem", "TZDIR=/proc", "ZONEINFO=/proc/self/mem")}, want: whole},
		"names twice":            {x: execution{Args: argv, Env: with("MAIL_CONFIG="+other.Conf, "=", "x", "")}, want: either},
		"a foreign directory":    {x: execution{Args: argv, Env: []string{"MAIL_CONFIG=" + foreign}}, says: "alternate_config_directories", want: refused},
		"the caller's directory": {x: execution{Args: argv, Env: []string{"MAIL_CONFIG=" + mine}}, says: "alternate_config_directories", want: refused},
		"a foreign -c":           {x: execution{Args: []string{"postdrop", "-c", foreign}, Env: conf}, says: "alternate_config_directories", want: refused},
		"by way of one allowed":  {x: execution{Args: []string{"postdrop", "-c", i.Conf + "/../../" + filepath.Base(foreign)}}, says: "alternate_config_directories", want: refused},
		"a relative one":         {x: execution{Args: []string{"postdrop", "-c", "."}, Env: conf}, says: "alternate_config_directories", want: refused},
		"an empty one":           {x: execution{Args: argv, Env: []string{"MAIL_CONFIG="}}, want: refused}, // the default, whose queue there is not
		"file size 0":            {x: execution{Args: argv, Env: conf, Limits: []limit{{unix.RLIMIT_FSIZE, 0}}}, want: refused},
		"file size 1 MB":         {x: execution{Args: argv, Env: conf, Limits: []limit{{unix.RLIMIT_FSIZE, 1 << 20}}}, in: large.Bytes(), want: refused},
		"3 files":                {x: execution{Args: argv, Env: conf, Limits: []limit{{unix.RLIMIT_NOFILE, 3}}}, want: refused},
		"5 files":                {x: execution{Args: argv, Env: conf, Limits: []limit{{unix.RLIMIT_NOFILE, 5}}}, want: either},
		"no processes":           {x: execution{Args: argv, Env: conf, Limits: []limit{{unix.RLIMIT_NPROC, 0}}}, want: either},
		"memory of 1 MB":         {x: execution{Args: argv, Env: conf, Limits: []limit{{unix.RLIMIT_AS, 1 << 20}}}, want: refused},
		"memory of 100 MB":       {x: execution{Args: argv, Env: conf, Limits: []limit{{unix.RLIMIT_AS, 100 << 20}}}, in: large.Bytes(), want: either},
		"data of 1 MB":           {x: execution{Args: argv, Env: conf, Limits: []limit{{unix.RLIMIT_DATA, 1 << 20}}}, want: either},
		"a stack of 64 KB":       {x: execution{Args: argv, Env: conf, Limits: []limit{{unix.RLIMIT_STACK, 64 << 10}}}, want: either},
		"core files":             {x: execution{Args: argv, Env: with("GOTRACEBACK=crash"), Limits: []limit{{unix.RLIMIT_CORE, unix.RLIM_INFINITY}, {unix.RLIMIT_AS, 80 << 20}}}, want: either},
		"30 descriptors":         {x: execution{Args: argv, Env: conf, Open: 30}, want: whole},
		"descriptors, no stdin":  {x: execution{Args: argv, Env: conf, Open: 30, Close: []int{0, 1, 2}}, want: refused}, // /etc/passwd is its input
		"umask 0":                {x: execution{Args: argv, Env: conf, Umask: new(int)}, want: whole},
		"umask 777":              {x: execution{Args: argv, Env: conf, Umask: &shut}, want: whole},
		"a removed directory":    {x: execution{Args: argv, Env: conf, Gone: true}, want: whole},
		"ignored signals":        {x: execution{Args: argv, Env: conf, Ignore: []syscall.Signal{unix.SIGPIPE, unix.SIGALRM, unix.SIGVTALRM, unix.SIGPROF, unix.SIGCHLD, unix.SIGURG}}, in: large.Bytes(), want: whole},
		"blocked signals":        {x: execution{Args: argv, Env: conf, Block: true}, want: whole},
		"no locks or queues":     {x: execution{Args: argv, Env: conf, Limits: []limit{{unix.RLIMIT_MEMLOCK, 0}, {unix.RLIMIT_SIGPENDING, 0}, {unix.RLIMIT_MSGQUEUE, 0}}}, want: either},
	}
	for name, c := range tests {
		in := c.in
		if in == nil {
			in = small.Bytes()
		}
		c.x.Path = house.bin + "/postdrop"
		huge := ""
		if c.huge {
			huge = i.Conf
		}
		state, said := execute(t, c.x, huge, in)
		if dump.MatchString(said) || state.Sys().(syscall.WaitStatus).CoreDump() {
			t.Errorf("%s: a dump: %v %.500s", name, state, said)
		}
		if !strings.Contains(said, c.says) {
			t.Errorf("%s: %q does not say %s", name, said, c.says)
		}
		files := drain(t, i)
		t.Logf("%s: %v, %.200q, %d files", name, state, said, len(files))
		ok := state.Success()
		if ok != (len(files) == 1) || len(files) > 1 || c.want == whole && !ok || c.want == refused && ok {
			t.Errorf("%s: that is not what should be", name)
		}
		for _, f := range files {
			if f.owner != house.user.uid || f.uid != uint32(house.user.uid) || f.mode != 0o644 || f.size != len(in) && !f.complete {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if now := entries(t, house.home); now != home {
			t.Errorf("%s: files in the caller's directory: %s", name, now)
		}
		for _, dir := range []string{foreign, mine, other.Queue} {
			if found, _ := filepath.Glob(dir + "/queue/maildrop/*"); found != nil {
				t.Errorf("%s: a message in %q", name, found)
			}
		}
	}
}

// entries are the names in a directory.
func entries(t *testing.T, dir string) string {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range all {
		if e.Name() != "Maildir" { // where other tests' mail goes
			names = append(names, e.Name())
		}
	}
	return strings.Join(names, " ")
}

// dump is in what the runtime prints of a process that failed: stacks and addresses.
var dump = regexp.MustCompile(`goroutine \d|\b0x[0-9a-f]{4}`)

// write makes a submission that says it is root's.
func write(t *testing.T, w io.Writer, size int) {
	t.Helper()
	m := maildrop.NewWriter(w, &maildrop.Submission{UID: 0, Sender: "a@b", Recipients: []mail.Address{"c@d"}})
	if _, err := io.WriteString(m, "x: y\r\n\r\n"+strings.Repeat("x", size)+"\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// execute has the user become x.
func execute(t *testing.T, x execution, huge string, in []byte) (*os.ProcessState, string) {
	t.Helper()
	b, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	cmd := asUser(house.user, "limited")
	cmd.Env = append(cmd.Env, "ROOT_TEST_EXECUTION="+string(b), "ROOT_TEST_HUGE="+huge)
	cmd.Dir = house.home // may be written: a core file would be there
	cmd.Stdin = bytes.NewReader(in)
	cmd.WaitDelay = instance.Patience
	out, err := cmd.CombinedOutput()
	if _, ok := err.(*exec.ExitError); err != nil && !ok && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if found, _ := filepath.Glob(house.home + "/core*"); found != nil {
		t.Errorf("%q", found)
	}
	return cmd.ProcessState, string(out)
}

// dropped is a file of maildrop/.
type dropped struct {
	name     string
	owner    int
	uid      uint32 // who submitted it, as the file says
	size     int
	mode     os.FileMode
	complete bool
}

// drain removes what is in maildrop/.
func drain(t *testing.T, i *instance.Instance) (all []dropped) {
	t.Helper()
	for name := range i.Files("maildrop") {
		path := filepath.Join(i.Queue, name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		d := dropped{name: name, owner: owner(st), size: len(b), mode: st.Mode()}
		r := maildrop.NewReader(bytes.NewReader(b))
		if s, err := r.Submission(); err == nil {
			d.uid = s.UID
		}
		for err == nil {
			_, err = r.Next()
		}
		d.complete = err == io.EOF
		all = append(all, d)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	return all
}
