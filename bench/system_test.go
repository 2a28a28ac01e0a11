//go:build bench

package bench

import (
	"io/fs"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postrider/test/instance"
	debian "postrider/test/postfix"
)

// setting is what a system is started with. The rest is as shipped.
type setting struct {
	dir   string   // everything is below it
	relay string   // where all mail goes: [127.0.0.1]:PORT
	table string   // transport table, "" for none
	local string   // directory of Maildirs: mail for Domain stays here; "" for none
	lines []string // further lines of main.cf, known to Postfix too
}

// system is a running mail system.
type system interface {
	addr() string                                    // of its SMTP server
	pid() int                                        // of the process above all others
	log() string                                     // file
	queued() int                                     // messages in the queue, roughly
	sendmail(stdin []byte, args ...string) *exec.Cmd // its submission command
	command(name string, args ...string) *exec.Cmd   // postqueue, postsuper
	stop()
}

// kind is a mail system that can be started.
type kind struct {
	name    string
	missing func() bool
	start   func(t *testing.T, s setting) system
}

var kinds = []kind{
	{"Postrider", func() bool { return false }, startPostrider},
	{"Postfix as shipped", noPostfix, func(t *testing.T, s setting) system { return startPostfix(t, s, nil) }},
	{"Postfix tuned", noPostfix, func(t *testing.T, s setting) system { return startPostfix(t, s, tuned) }},
}

// postrider is ours.
type postrider struct {
	*instance.Instance
	t *testing.T
}

func startPostrider(t *testing.T, s setting) system {
	t.Helper()
	programs(t)
	t.Setenv("TMPDIR", s.dir) // where instance puts its directory
	lines := append([]string{"relayhost = " + s.relay, "message_size_limit = 0"}, s.lines...)
	if s.table != "" {
		lines = append(lines, "transport_maps = texthash:"+s.table)
	}
	if s.local != "" {
		lines = append(lines, "mail_spool_directory = "+s.local)
	}
	return &postrider{instance.Started(t, lines...), t}
}

func (p *postrider) addr() string { return p.Addr }
func (p *postrider) pid() int     { return p.Processes()[0].PID }
func (p *postrider) log() string  { return p.Dir + "/maillog" }
func (p *postrider) stop()        { p.Stop() }

func (p *postrider) queued() int {
	return strings.Count(p.Must("postqueue", "-j"), "\n") + len(p.Files("maildrop"))
}

func (p *postrider) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.Bin, name), args...)
	cmd.Env = []string{"MAIL_CONFIG=" + p.Conf, "PATH=" + p.Bin + ":/usr/bin:/bin", "TZ=UTC"}
	cmd.Dir = "/"
	return cmd
}

func (p *postrider) sendmail(stdin []byte, args ...string) *exec.Cmd {
	return withInput(p.command("sendmail", args...), stdin)
}

func withInput(cmd *exec.Cmd, stdin []byte) *exec.Cmd {
	cmd.Stdin = strings.NewReader(string(stdin))
	return cmd
}

// tool finds one of Debian's programs.
func tool(name string) string {
	for _, dir := range []string{"", "/usr/sbin/", "/usr/libexec/postfix/"} {
		if p, err := exec.LookPath(dir + name); err == nil {
			return p
		}
	}
	return ""
}

// needTool skips without one.
func needTool(t *testing.T, name string) string {
	t.Helper()
	p := tool(name)
	if p == "" {
		t.Skipf("%s is not installed (Debian: apt-get install postfix)", name)
	}
	return p
}

// freePort is a port of 127.0.0.1 that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// filesBelow counts regular files.
func filesBelow(dirs ...string) (n int) {
	for _, dir := range dirs {
		filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				n++
			}
			return nil
		})
	}
	return n
}

func noPostfix() bool { return debian.Missing() != "" || tool("postfix") == "" }

// tuned is what is commonly changed for speed.
var tuned = []string{"in_flow_delay = 0", "default_process_limit = 200", "default_destination_concurrency_limit = 50",
	"initial_destination_concurrency = 20"}

// postfix is Debian's, a private instance.
type postfix struct{ *debian.Postfix }

func startPostfix(t *testing.T, s setting, more []string) system {
	t.Helper()
	lines := append([]string{"relayhost = " + s.relay, "message_size_limit = 0", "mailbox_size_limit = 0", "virtual_mailbox_limit = 0"}, s.lines...)
	if s.table != "" {
		lines = append(lines, "transport_maps = texthash:"+s.table)
	}
	if s.local != "" {
		lines = append(lines, "mydestination = "+instance.Domain, "mail_spool_directory = "+s.local+"/")
	}
	return &postfix{debian.Start(t, scratch(t, s.dir), append(lines, more...)...)}
}

func (p *postfix) addr() string { return p.Addr }
func (p *postfix) pid() int     { return p.PID() }
func (p *postfix) log() string  { return p.Log() }
func (p *postfix) stop()        { p.Stop() }

func (p *postfix) queued() int {
	spool := p.Dir + "/spool/"
	return filesBelow(spool+"maildrop", spool+"incoming", spool+"active", spool+"deferred")
}

func (p *postfix) command(name string, args ...string) *exec.Cmd { return p.Command(name, args...) }

func (p *postfix) sendmail(stdin []byte, args ...string) *exec.Cmd {
	return withInput(p.command("sendmail", args...), stdin)
}
