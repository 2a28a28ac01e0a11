package logs

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postrider/test/instance"
	"postrider/test/source"
)

// ownDev gives the instance a /dev of its own, in which log is the test's to make, and
// returns its name from outside.
func ownDev(t *testing.T, i *instance.Instance) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a /dev of its own")
	}
	dev := filepath.Join(i.Dir, "dev")
	if err := os.Mkdir(dev, 0o755); err != nil {
		t.Fatal(err)
	}
	os.Chmod(dev, 0o755)
	i.Private = fmt.Sprintf(`cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/fd /dev/stdin /dev/stdout /dev/stderr %[1]s
mount --bind %[1]s /dev`, dev)
	i.Set("maillog_file =")
	return dev
}

// syslogd is a daemon that listens at a socket and keeps what it reads.
type syslogd struct {
	t    *testing.T
	name string
	conn *net.UnixConn
	done chan struct{}
	mu   sync.Mutex
	text strings.Builder
}

// listen begins, or begins anew as a daemon that was restarted: at a new socket.
func (d *syslogd) listen() {
	d.t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: d.name, Net: "unixgram"})
	if err != nil {
		d.t.Fatal(err)
	}
	os.Chmod(d.name, 0o666)
	d.conn = conn
}

// read keeps what comes.
func (d *syslogd) read() {
	d.done = make(chan struct{})
	go func() {
		defer close(d.done)
		b := make([]byte, 64<<10)
		for {
			n, err := d.conn.Read(b)
			if n == 0 || err != nil {
				return
			}
			d.mu.Lock()
			d.text.Write(append(b[:n:n], '\n'))
			d.mu.Unlock()
		}
	}()
}

// stop takes nothing more, reads what it has taken, and goes away.
func (d *syslogd) stop() {
	raw, _ := d.conn.SyscallConn()
	raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RD) })
	d.conn.SetReadDeadline(time.Now())
	<-d.done
	raw.Control(func(fd uintptr) {
		b := make([]byte, 64<<10)
		for {
			n, _, err := unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
			if n <= 0 || err != nil {
				return
			}
			d.text.Write(append(b[:n:n], '\n'))
		}
	})
	d.conn.Close()
	os.Remove(d.name)
}

func (d *syslogd) log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String()
}

func (d *syslogd) count(what string) int { return strings.Count(d.log(), what) }

// mail sends n messages, none of which may have to wait.
func mail(t *testing.T, i *instance.Instance, name string, n int) {
	t.Helper()
	for k := range n {
		begun := time.Now()
		if _, err := source.Send1(i.Addr, source.New(fmt.Sprintf("%s-%d", name, k), "a@source.test", 500, "u@"+instance.Domain), nil); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begun); d > 10*time.Second { // the machine may be busy; who waits for the log waits for ever
			t.Errorf("a message took %v", d)
		}
	}
}

// delivered waits for the mail that mail sent, which the log may not tell of.
func delivered(i *instance.Instance, n int) {
	i.Await("the mail", func() bool { return len(i.Maildir("u")) == n })
}

// TestSyslogComesBack: the syslog daemon goes away and comes back three times. Mail flows
// meanwhile, and no line is lost: those of that time come when it is back.
func TestSyslogComesBack(t *testing.T) {
	t.Parallel()
	i := instance.New(t)
	d := &syslogd{t: t, name: ownDev(t, i) + "/log"}
	d.listen()
	d.read()
	i.Start()
	const each = 20
	n := 0
	for range 3 {
		mail(t, i, "there", each)
		d.stop()
		mail(t, i, "away", each)
		n += 2 * each
		delivered(i, n)
		d.listen()
		d.read()
		i.Await("the log", func() bool { return d.count(": removed\n") == n })
	}
	for _, what := range []string{": client=", ": message-id=<", "(queue active)", "status=sent (delivered to maildir)", ": removed\n"} {
		if got := d.count(what); got != n {
			t.Errorf("%d lines %q of %d", got, what, n)
		}
	}
	if d.count("were lost") != 0 {
		t.Error("lines were lost")
	}
	if l := regexp.MustCompile(`(?m)^<(\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d postfix/[a-z]+\[\d+\]: `).FindAllString(d.log(), -1); len(l) != strings.Count(d.log(), "\n") {
		t.Errorf("%d of %d lines are syslog's", len(l), strings.Count(d.log(), "\n"))
	}
}

// TestSyslogStandsStill: a syslog daemon that is there and does not read holds nobody up.
// What does not fit into a mebibyte is lost, and counted to the line.
func TestSyslogStandsStill(t *testing.T) {
	t.Parallel()
	i := instance.New(t, "smtpd_hard_error_limit = 100000", "smtpd_soft_error_limit = 100000", "default_process_count = 1", "smtpd_recipient_limit = 100000", "mynetworks =", "smtpd_relay_restrictions = reject_unauth_destination")
	d := &syslogd{t: t, name: ownDev(t, i) + "/log"}
	d.listen()
	i.Start()
	// Each refusal is a line of a good kilobyte.
	const refusals = 3000
	s, err := source.Dial(i.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	long := strings.Repeat("long.", 40)
	for _, c := range []string{"EHLO " + long + "test", "MAIL FROM:<x@" + long + "test>"} {
		if _, err := s.Command("250", "%s", c); err != nil {
			t.Fatal(err)
		}
	}
	for n := range refusals {
		if _, err := s.Command("554", "RCPT TO:<%d@%stest>", n, long); err != nil {
			t.Fatal(err)
		}
	}
	mail(t, i, "still", 20)
	delivered(i, 20)

	d.read()
	i.Await("the last lines", func() bool { return d.count(": removed\n") == 20 })
	s.Command("221", "QUIT")
	lost := func() (n int) {
		for _, m := range regexp.MustCompile(`smtpd\[\d+\]: warning: (\d+) lines of the log were lost while it could not be written`).FindAllStringSubmatch(d.log(), -1) {
			k, _ := strconv.Atoi(m[1])
			n += k
		}
		return n
	}
	// Those of smtpd: a session of refusals, and the mail, with four lines each.
	const all = refusals + 2 + 20*3
	i.Await("the count", func() bool { return lost()+strings.Count(d.log(), "/smtpd[")-d.count("were lost") >= all })
	t.Logf("%d lines lost, %d written", lost(), strings.Count(d.log(), "/smtpd["))
	if lost() == 0 {
		t.Error("nothing was lost: the daemon did not stand still")
	}
	if got := lost() + len(regexp.MustCompile(`/smtpd\[\d+\]: (NOQUEUE|connect|disconnect|\w+: client=)`).FindAllString(d.log(), -1)); got < all || got > all+2 { // the greeting that Start waits for
		t.Errorf("%d lines, %d expected", got, all)
	}
	if d.count("status=sent") != 20 {
		t.Error("lines of others were lost")
	}
}
