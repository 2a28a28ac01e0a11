package root

import (
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/sink"
	"postrider/test/source"
)

func command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = "/"
	return cmd
}

// run is Run without the lines about parameters that this version does not use.
func run(i *instance.Instance, program string, args ...string) instance.Result {
	r := i.Run(program, args...)
	r.Stderr = regexp.MustCompile(`(?m)^.* (has no effect|is not supported): .*\n`).ReplaceAllString(r.Stderr, "")
	return r
}

// The verbs of master, in the background as an administrator uses it, by both names.
func TestVerbs(t *testing.T) {
	t.Parallel()
	far := sink.New(t, nil)
	far.Refuse()
	i := system(t, route("sink.test", far))
	greets := func() bool {
		c, err := net.DialTimeout("tcp", i.Addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	for _, name := range []string{"master", "postrider"} {
		says := func(code int, pattern, verb string) string {
			t.Helper()
			r := run(i, name, verb)
			if r.Code != code || !regexp.MustCompile(pattern).MatchString(r.Stderr) || r.Stdout != "" {
				t.Errorf("%s %s: %+v, not %d and %s", name, verb, r, code, pattern)
			}
			return r.Stderr
		}
		const nothing = `^$`
		says(0, nothing, "check")
		says(1, `^`+name+`: the mail system is not running\n$`, "status")
		for _, verb := range []string{"stop", "abort", "reload", "flush"} {
			says(1, `^`+name+`: fatal: the mail system is not running\n$`, verb)
		}
		says(0, nothing, "start")
		status := says(0, `^`+name+`: the Postrider mail system is running: PID: \d+\n$`, "status")
		pid, _ := strconv.Atoi(regexp.MustCompile(`\d+`).FindString(status))
		if pid == 0 || !greets() {
			t.Fatal("start returned before the system was up")
		}
		says(1, `already running: PID: `+strconv.Itoa(pid)+`\n$`, "start")
		says(1, `already running: PID: `+strconv.Itoa(pid)+`\b`, "start-fg")
		id := send(t, i, source.New("verb-"+name, "a@source.test", 4000, "r@sink.test"))
		i.AwaitQueue(id, "deferred")
		says(0, nothing, "reload")
		i.Await("the reload", func() bool { return len(i.Grep(`master\[`+strconv.Itoa(pid)+`\]: reload -- `)) == 1 })
		far.Accept(t)
		says(0, nothing, "flush")
		i.Await("the delivery", func() bool { return len(far.Find("verb-"+name)) == 1 })
		far.Refuse()
		last := map[string]string{"master": "stop", "postrider": "abort"}[name]
		says(0, nothing, last)
		if instance.Alive([]instance.Process{{PID: pid}}) || greets() {
			t.Errorf("%s %s returned before the end", name, last)
		}
	}
	says := i.Run("master", "no-such-verb")
	if says.Code != 64 || says.Stderr == "" {
		t.Errorf("a verb that is none: %+v", says)
	}
}

// waiting is a sink that does not answer to the final dot before release is called.
func waiting(t *testing.T) (far *sink.Sink, release func()) {
	far = sink.New(t, nil)
	c := make(chan struct{})
	far.Do(sink.Behaviour{Dot: func(*sink.Mail) string { <-c; return "" }})
	released := false
	release = func() {
		if !released {
			close(c)
		}
		released = true
	}
	t.Cleanup(release)
	return far, release
}

// A stop lets a delivery past the final dot end; an abort does not wait for it, and the
// message stays queued.
func TestStopAndAbort(t *testing.T) {
	t.Parallel()
	far, release := waiting(t)
	i := system(t, route("sink.test", far), "stop_grace = 20s")
	i.Start()
	send(t, i, source.New("stop-1", "a@source.test", 4000, "r@sink.test"))
	i.Await("a delivery past the dot", func() bool { return far.Pending() == 1 })
	stopped := make(chan instance.Result, 1)
	go func() { stopped <- i.Run("master", "stop") }()
	i.AwaitLog(`master\[\d+\]: terminating on signal`)
	i.Await("the end of smtpd", func() bool { return len(i.PIDs("smtpd")) == 0 })
	select {
	case r := <-stopped:
		t.Fatalf("stop did not wait: %+v", r)
	case <-time.After(300 * time.Millisecond): // what does not wait is gone by then
	}
	release()
	if r := <-stopped; r.Code != 0 {
		t.Errorf("stop: %+v", r)
	}
	i.Await("the end", i.Exited)
	if got := i.Grep(`status=sent`); len(got) != 1 {
		t.Errorf("log: %q", got)
	}

	far2, release2 := waiting(t)
	i.Set(route("sink.test", far2))
	i.Start()
	id := send(t, i, source.New("abort-1", "a@source.test", 4000, "r@sink.test"))
	i.Await("a delivery past the dot", func() bool { return far2.Pending() == 1 })
	begun := time.Now()
	i.Must("master", "abort")
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("abort took %v", d)
	}
	i.Await("the end", i.Exited)
	if got := i.Must("postqueue", "-p"); !strings.Contains(got, id) {
		t.Errorf("the message is not queued: %s", got)
	}
	release2()
	if len(far.Mails()) != 1 {
		t.Errorf("%d deliveries of the first message", len(far.Mails()))
	}
}

// When master is killed alone its daemons finish and end; a new master waits for them and
// says for whom, and then the mail goes on.
func TestMasterKilled(t *testing.T) {
	t.Parallel()
	far, release := waiting(t)
	i := system(t, route("sink.test", far))
	i.Start()
	send(t, i, source.New("mk-1", "a@source.test", 4000, "r@sink.test"))
	i.Await("a delivery past the dot", func() bool { return far.Pending() == 1 })
	left := i.KillMaster()
	t.Cleanup(func() {
		for _, p := range left {
			syscall.Kill(p.PID, syscall.SIGKILL)
		}
	})
	i.Launch()
	i.Await("the new master to say for whom it waits", func() bool {
		return regexp.MustCompile(`master: waiting for the lock of the queue, held by .*qmgr \(pid \d+\)`).MatchString(i.Stderr())
	})
	i.AwaitLog(`master\[\d+\]: warning: waiting for the lock of the queue, held by .*qmgr \(pid \d+\)`)
	if r := i.Run("master", "check"); r.Code != 0 {
		t.Errorf("check while a master waits: %+v", r)
	}
	if i.PIDs("qmgr") != nil {
		t.Error("a second qmgr was started")
	}
	release()
	i.Await("the greeting of the new system", i.Greets)
	if instance.Alive(left) {
		t.Errorf("of the old system there is still one of %v", left)
	}
	i.Await("an empty queue", i.Drained)
	send(t, i, source.New("mk-2", "a@source.test", 4000, "r@sink.test"))
	i.Await("the next delivery", func() bool { return len(far.Find("mk-2")) == 1 })
	if n := len(far.Find("mk-1")); n != 1 {
		t.Errorf("the first message came %d times", n)
	}
}

// Missing accounts, and a queue of wrong owners: master says what to do and begins nothing.
func TestRefusals(t *testing.T) {
	t.Parallel()
	i := system(t, "mail_owner = no-such-owner", "setgid_group = no-such-group")
	for _, verb := range []string{"check", "start", "start-fg"} {
		r := run(i, "master", verb)
		for _, want := range []string{"fatal: missing group no-such-group, user no-such-owner", "make accounts", "groupadd --system no-such-group", "useradd --system .* no-such-owner"} {
			if r.Code != 1 || !regexp.MustCompile(want).MatchString(r.Stderr) || strings.Count(r.Stderr, "\n") != 1 {
				t.Errorf("%s without accounts: no %s in %+v", verb, want, r)
			}
		}
	}
	if _, err := os.Stat(i.Queue); err == nil {
		t.Error("a queue directory was made without accounts")
	}
	i.Set("mail_owner = root")
	if r := run(i, "master", "check"); r.Code != 1 || !strings.Contains(r.Stderr, "uid 0") {
		t.Errorf("mail_owner = root: %+v", r)
	}

	i.Set("mail_owner = postrider", "setgid_group = postdrop")
	i.Start()
	id := send(t, i, source.New("refused", "a@source.test", 4000, "root@"+instance.Domain))
	i.AwaitLog(id + `: removed`)
	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}
	if r := run(i, "master", "check"); r.Code != 0 || r.Stderr != "" {
		t.Errorf("check: %+v", r)
	}
	// As cp -r by root leaves it; each line has the command that mends it.
	for _, what := range []string{"incoming", "log", "pid", "maildrop", "log/x", "incoming/x"} {
		path := i.Queue + "/" + what
		if strings.HasSuffix(what, "/x") {
			if err := os.WriteFile(path, nil, 0600); err != nil {
				t.Fatal(err)
			}
		}
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		uid, gid := 0, 0
		if owner(st) == 0 {
			uid = 1
		}
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"check", "start"} {
			r := run(i, "master", verb)
			if r.Code != 1 || !strings.Contains(r.Stderr, "master: fatal: "+path+" is not owned by") && !strings.Contains(r.Stderr, "files in "+strings.TrimSuffix(path, "/x")+", such as x, are not owned by") {
				t.Errorf("%s with a wrong %s: %+v", verb, what, r)
			}
		}
		if i.PIDs("qmgr") != nil {
			t.Error("a daemon was started")
		}
		r := run(i, "master", "check")
		for _, m := range regexp.MustCompile(`: (ch(?:own|grp|mod)) (.*)\n`).FindAllStringSubmatch(r.Stderr, -1) {
			if err := command(m[1], strings.Fields(m[2])...).Run(); err != nil {
				t.Errorf("%s: %v", m[0], err)
			}
		}
		// chown takes the set-gid bit away; the warning of that is obeyed, too.
		for _, m := range regexp.MustCompile(`: (chmod) (.*)\n`).FindAllStringSubmatch(run(i, "master", "check").Stderr, -1) {
			command(m[1], strings.Fields(m[2])...).Run()
		}
		if r := run(i, "master", "check"); r.Code != 0 || r.Stderr != "" {
			t.Errorf("check of %s after doing as told: %+v", what, r)
		}
		if strings.HasSuffix(what, "/x") {
			os.Remove(path)
		}
	}
	i.Start()
	checkOwners(t, i)
}
