package root

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postrider/test/instance"
	"postrider/test/sink"
	"postrider/test/source"
)

// Once they serve, smtpd and smtp open no file by name: not for names of hosts, the time
// zone or randomness, nor at a reload. cleanup, traced in the same way, does open files.
func TestOpenNothing(t *testing.T) {
	t.Parallel()
	far := sink.New(t, nil)
	_, port, _ := net.SplitHostPort(far.Addr)
	// The name is found in /etc/hosts.
	i := system(t, "transport_maps = inline:{ {sink.test = smtp:[localhost]:"+port+"} {other.test = smtp:"+far.NextHop()+"} }",
		"smtpd_peername_lookup = yes") // no effect before smtpd looks names up
	i.Start()
	daemons(t, i)
	agents := trace(t, i, append(i.PIDs("smtpd"), i.PIDs("smtp")...)...)
	others := trace(t, i, i.PID("cleanup"))

	var wg sync.WaitGroup
	for n := range 5 {
		wg.Go(func() {
			s, err := source.Dial(i.Addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			for m, size := range []int{1 << 10, 4 << 10, 4 << 10, 40 << 10, 4 << 10, 100 << 10, 4 << 10, 300 << 10, 4 << 10, 1 << 20} {
				to := []string{"r@sink.test", "r@other.test"}[m%2]
				if o, err := s.Send(source.New(fmt.Sprintf("open-%d-%d", n, m), "a@source.test", size, to), nil); err != nil || len(o.Acked) != 1 {
					t.Errorf("%v, %+v", err, o)
					return
				}
			}
			s.Command("250", "MAIL FROM:<a@source.test>")
			s.Command("250", "RCPT TO:<nobody-here@no.such.place.test>")
			s.Command("500", "GARBAGE")
		})
	}
	wg.Wait()
	i.Await("50 deliveries", func() bool { return len(far.Mails()) == 50 })
	i.Set("smtpd_recipient_limit = 7")
	i.Must("master", "reload")
	i.AwaitLog(`master\[\d+\]: reload -- `)
	send(t, i, source.New("open-reloaded", "a@source.test", 4000, "r@sink.test"))
	submit(t, i, "Subject: traced\n\nbody\n", "r@other.test")
	i.Await("52 deliveries", func() bool { return len(far.Mails()) == 52 })

	calls := regexp.MustCompile(`(?m)^.*\b(open|openat|openat2|creat|execve)\(.*$`)
	if found := calls.FindAllString(agents(), -1); found != nil {
		t.Errorf("smtpd or smtp opened files, %d times: %.2000q", len(found), found)
	}
	if found := calls.FindAllString(others(), -1); len(found) < 2 {
		t.Errorf("the trace does not see what cleanup opens: %q", found)
	}
}

// trace writes down which files the processes open, until the result is called.
func trace(t *testing.T, i *instance.Instance, pids ...int) func() string {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("needs strace (apt-get install strace)")
	}
	out := filepath.Join(t.TempDir(), "trace")
	args := []string{"-f", "-e", "trace=open,openat,openat2,creat,execve", "-o", out}
	for _, pid := range pids {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	cmd := exec.Command(strace, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	stop := func() {
		cmd.Process.Signal(unix.SIGINT)
		select {
		case <-ended:
		case <-time.After(instance.Patience):
			cmd.Process.Kill()
			<-ended
		}
	}
	t.Cleanup(stop)
	i.Await("strace", func() bool {
		for _, pid := range pids {
			for _, thread := range threads(t, pid) {
				if s := status(t, thread); s != nil && s["TracerPid"] != strconv.Itoa(cmd.Process.Pid) {
					return false
				}
			}
		}
		return true
	})
	return func() string {
		stop()
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}
