//go:build bench

package bench

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postrider/test/instance"
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

// stockPostfix is where Debian keeps the files of a fresh installation.
const stockPostfix = "/usr/share/postfix/master.cf.dist"

func noPostfix() bool {
	_, err := os.Stat(stockPostfix)
	return err != nil || tool("postfix") == "" || os.Geteuid() != 0
}

// tuned is what is commonly changed for speed.
var tuned = []string{"in_flow_delay = 0", "default_process_limit = 200", "default_destination_concurrency_limit = 50",
	"initial_destination_concurrency = 20"}

// postfix is Debian's, a private instance.
type postfix struct {
	t       *testing.T
	dir     string
	address string
	running bool
}

func startPostfix(t *testing.T, s setting, more []string) system {
	t.Helper()
	p := &postfix{t: t, dir: scratch(t, s.dir), address: "127.0.0.1:" + freePort(t)}
	if err := p.configure(s, more); err != nil {
		t.Fatal(err)
	}
	if b, err := p.run("start"); err != nil {
		t.Fatalf("postfix start: %v\n%s", err, b)
	}
	p.running = true
	t.Cleanup(p.stop)
	await(t, "Postfix's greeting", func() bool {
		c, err := net.Dial("tcp", p.address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return p
}

func (p *postfix) configure(s setting, more []string) error {
	conf := p.dir + "/conf"
	for _, d := range []string{conf, p.dir + "/spool", p.dir + "/data"} {
		if err := os.Mkdir(d, 0755); err != nil {
			return err
		}
	}
	if out, err := exec.Command("chown", "postfix", p.dir+"/data").CombinedOutput(); err != nil {
		return fmt.Errorf("chown: %w: %s", err, out)
	}
	for _, name := range []string{"dynamicmaps.cf", "postfix-files", "postfix-script", "post-install"} {
		if b, err := os.ReadFile("/etc/postfix/" + name); err == nil {
			if err := os.WriteFile(conf+"/"+name, b, 0755); err != nil {
				return err
			}
		}
	}
	if err := os.WriteFile(p.dir+"/maillog", nil, 0666); err != nil {
		return err
	}
	if err := os.WriteFile(conf+"/master.cf", []byte(p.services()), 0644); err != nil {
		return err
	}
	lines := append([]string{"compatibility_level = 3.6", "queue_directory = " + p.dir + "/spool", "data_directory = " + p.dir + "/data",
		"mail_owner = postfix", "setgid_group = postdrop", "config_directory = " + conf, "command_directory = /usr/sbin",
		"daemon_directory = /usr/lib/postfix/sbin", "inet_interfaces = 127.0.0.1", "inet_protocols = ipv4", "myhostname = mx.instance.test",
		"mydestination =", "relayhost = " + s.relay, "mynetworks = 127.0.0.0/8", "maillog_file = " + p.log(), "maillog_file_prefixes = " + p.dir,
		"smtp_tls_security_level = none", "smtpd_tls_security_level = none", "smtpd_client_connection_count_limit = 0",
		"smtpd_peername_lookup = no", "smtp_host_lookup = native", "disable_dns_lookups = yes", "alias_maps =", "local_recipient_maps =",
		"message_size_limit = 0", "mailbox_size_limit = 0", "virtual_mailbox_limit = 0"}, s.lines...)
	if s.table != "" {
		lines = append(lines, "transport_maps = texthash:"+s.table)
	}
	if s.local != "" {
		lines = append(lines, "mydestination = "+instance.Domain, "mail_spool_directory = "+s.local+"/")
	}
	return os.WriteFile(conf+"/main.cf", []byte(strings.Join(append(lines, more...), "\n")+"\n"), 0644)
}

// services is the stock master.cf with our port and without chroot.
func (p *postfix) services() string {
	b, _ := os.ReadFile(stockPostfix)
	var out strings.Builder
	for l := range strings.Lines(string(b)) {
		f := strings.Fields(l)
		if len(f) >= 8 && !strings.HasPrefix(l, "#") && !strings.HasPrefix(l, " ") {
			f[4] = "n"
			if f[0] == "smtp" && f[1] == "inet" {
				f[0] = p.address
			}
			l = strings.Join(f, " ") + "\n"
		}
		out.WriteString(l)
	}
	return out.String()
}

func (p *postfix) run(verb string) ([]byte, error) {
	return exec.Command(tool("postfix"), "-c", p.dir+"/conf", verb).CombinedOutput()
}

func (p *postfix) addr() string { return p.address }
func (p *postfix) log() string  { return p.dir + "/maillog" }

func (p *postfix) pid() (pid int) {
	b, _ := os.ReadFile(p.dir + "/spool/pid/master.pid")
	fmt.Sscan(string(b), &pid)
	return pid
}

func (p *postfix) queued() int {
	spool := p.dir + "/spool/"
	return filesBelow(spool+"maildrop", spool+"incoming", spool+"active", spool+"deferred")
}

func (p *postfix) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(tool(name), args...)
	cmd.Env = []string{"MAIL_CONFIG=" + p.dir + "/conf", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	return cmd
}

func (p *postfix) sendmail(stdin []byte, args ...string) *exec.Cmd {
	return withInput(p.command("sendmail", args...), stdin)
}

func (p *postfix) stop() {
	if p.running {
		p.running = false
		if b, err := p.run("stop"); err != nil {
			p.t.Logf("postfix stop: %v\n%s", err, b)
		}
	}
}
