// Package doors tests what a daemon that was taken over could reach: with all layers,
// with each alone, and by its user id alone. Its result is the table in doc/security.md;
// go test ./test/doors -update writes it.
package doors

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"postrider/lib/lockdown"
	"postrider/test/doors/attempt"
	"postrider/test/source"
)

// rows are the names of attempts: that begin with one of the words, or whose group does.
func rows(words ...string) (names []string) {
	for _, a := range attempt.All {
		if slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(a.Group, w) || strings.HasPrefix(a.Name, w) }) {
			names = append(names, a.Name)
		}
	}
	return names
}

var (
	everything = rows("")
	network    = rows("Network")
	manager    = rows("The queue manager")

	// layersOnly is what a user id does not refuse.
	layersOnly = slices.Concat(network, rows("read main.cf", "read /etc/passwd", "see whether", "create a file in /tmp", "start a program",
		"make ", "use ", "let go", "list the queue"))
)

// mode is a way to run the system.
type mode struct {
	name   string
	layers string              // daemon_lockdown
	held   []string            // what is refused to all daemons but local
	open   map[string][]string // but this, by program
}

// open is what a daemon's work needs: its doors.
func open(create []string, more map[string][]string) map[string][]string {
	m := map[string][]string{
		"smtp":     rows("connect by TCP", "send by UDP", "hold a message's"),
		"lmtp":     rows("connect by TCP", "send by UDP", "connect to public", "list the queue"), // a mailbox server's socket may be anywhere
		"proxymap": rows("see whether"),
		"cleanup": slices.Concat(rows("list incoming", "read in incoming", "write in incoming", "list content", "read in content", "write in content",
			"create in incoming", "create in content", "list maildrop", "read in maildrop", "see whether")),
		"qmgr": slices.Concat(rows("list incoming", "read in incoming", "write in incoming", "list content", "read in content",
			"list log", "read in log", "write in log", "create in log", "see whether"), create),
	}
	for name, list := range more {
		m[name] = slices.Concat(m[name], list)
	}
	return m
}

var modes = []mode{
	{"all", "landlock, seccomp", everything, open(nil, nil)},
	// It has no say over names alone, UDP, listening, or Unix sockets with a name.
	{"landlock", "landlock", slices.Concat(rows("list incoming", "read ", "write ", "create ", "start a program", "make a user", "signal", "trace", "take",
		"connect by TCP", "choose", "connect to an abstract", "change", "open the log", "hold a message", "release", "delete")),
		open(nil, map[string][]string{"qmgr": manager})},
	// It cannot tell one name from another.
	{"seccomp", "seccomp", everything, open(rows("create in incoming", "create in content", "write in content"), map[string][]string{
		"cleanup": rows("create in maildrop", "read main.cf", "read /etc/passwd", "create a file in /tmp"),
		"qmgr":    rows("read main.cf", "read /etc/passwd", "create a file in /tmp"),
		"smtp":    rows("choose"), "lmtp": rows("choose", "connect to an abstract"),
		"proxymap": rows("read main.cf", "read /etc/passwd", "create a file in /tmp")})},
	{"uids", "", slices.DeleteFunc(slices.Clone(everything), func(name string) bool { return slices.Contains(layersOnly, name) }),
		open(rows("create in incoming", "create in content", "write in content"), map[string][]string{
			"cleanup": rows("create in maildrop"), "qmgr": manager, "smtpd": rows("signal"),
			"smtp": rows("signal"), "lmtp": rows("signal"), "bounce": rows("signal"), "proxymap": rows("signal")})},
}

// never is what nobody may, local included: it is root without root's rights.
var never = slices.Concat(rows("trace", "read another", "take another", "change a message's", "hold a message's"),
	rows("list incoming", "list content", "list maildrop", "list log", "read in", "write in", "create in"))

// TestReach has every daemon try everything, in every mode.
func TestReach(t *testing.T) {
	missing := lockdown.Missing()
	var mu sync.Mutex
	found := map[string]map[string]map[string]string{}
	t.Run("modes", func(t *testing.T) {
		for _, m := range modes {
			t.Run(m.name, func(t *testing.T) {
				for _, err := range missing {
					if m.layers != "" {
						t.Skipf("this kernel: %v", err)
					}
				}
				t.Parallel()
				s := start(t, "daemon_lockdown = "+m.layers)
				got := s.run()
				m.check(t, got)
				if m.name == "all" {
					s.serves()
				}
				mu.Lock()
				defer mu.Unlock()
				found[m.name] = got
			})
		}
	})
	if len(missing) > 0 {
		t.Skip("no table without all layers")
	}
	if !t.Failed() && len(found) == len(modes) {
		document(t, found["all"], found["uids"])
	}
}

// check says what was reached and should not be, and what was not and must be: else
// the attempt would show nothing.
func (m mode) check(t *testing.T, got map[string]map[string]string) {
	for _, program := range daemons {
		for _, name := range everything {
			reached := got[program][name]
			open := slices.Contains(m.open[program], name)
			switch {
			case program == "local":
				if reached != "" && slices.Contains(never, name) {
					t.Errorf("local could %s: %s", name, reached)
				}
			case reached != "" && !open && slices.Contains(m.held, name):
				t.Errorf("%s could %s: %s", program, name, reached)
			case reached == "" && open:
				t.Errorf("%s could not %s", program, name)
			}
		}
	}
	// A user id does not tell two processes of one account apart, but all others.
	for program, same := range map[string]string{"smtpd": "smtpd", "smtp": "lmtp, smtp", "lmtp": "smtp", "bounce": "proxymap", "proxymap": "bounce"} {
		if r := got[program]["signal another process"]; r != "" && r != same {
			t.Errorf("%s could signal %s", program, r)
		}
	}
	if m.layers == "" {
		for _, name := range layersOnly {
			if name != "use io_uring" && name != "make a user namespace" && got["bounce"][name] == "" && got["qmgr"][name] == "" {
				t.Errorf("without layers bounce and qmgr could not %s: the attempt shows nothing", name)
			}
		}
	}
}

// serves says whether mail flows: as it is, after a reload with a new listener and a
// new log, and after each daemon was started anew.
func (s *system) serves() {
	s.t.Helper()
	flows := func(id string) {
		s.t.Helper()
		s.send(source.New(id, "a@source.test", 1000, "r@sink.test"))
		s.Await("delivery of "+id, func() bool { return len(s.far.Find(id)) == 1 })
	}
	flows("as-it-is")
	host, _, _ := net.SplitHostPort(s.Addr)
	s.AddService(host + ":2526 inet n - n - - smtpd")
	s.Set("mail_name = New", "maillog_file = "+s.Dir+"/maillog2")
	s.Must("master", "reload")
	s.Await("the new listener", func() bool {
		c, err := net.Dial("tcp", host+":2526")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	s.Await("the new log", func() bool {
		b, _ := os.ReadFile(s.Dir + "/maillog2")
		return strings.Contains(string(b), "connect from")
	})
	flows("after-reload")
	for _, name := range []string{"smtpd", "smtp", "cleanup", "qmgr"} {
		s.KillOne(name)
		s.Await("all daemons", func() bool { return s.all() != nil && s.Greets() })
		flows("after-the-end-of-" + name)
	}
	if l := s.Grep("going on without it|permission denied|operation not permitted"); len(l) > 0 {
		s.t.Error(fmt.Sprint(l))
	}
}
