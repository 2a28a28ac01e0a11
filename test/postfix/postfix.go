// Package postfix starts Debian's Postfix as a private instance on loopback, as root, for
// tests and measurements beside it. It touches nothing outside its directory.
package postfix

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stock is where Debian keeps the master.cf of a fresh installation.
const stock = "/usr/share/postfix/master.cf.dist"

// Missing says why no instance can be started here, or is "".
func Missing() string {
	if os.Geteuid() != 0 {
		return "Postfix is started by root only"
	}
	if _, err := os.Stat(stock); err != nil {
		return "Debian's Postfix is not installed (apt-get install postfix)"
	}
	return ""
}

// Postfix is a running instance. Make one with Start.
type Postfix struct {
	Dir  string // everything below is in it
	Addr string // of the SMTP server

	t       testing.TB
	running bool
}

// Start starts an instance below dir, which others than root must be able to reach. Lines
// are added to main.cf, and override what is there. It is stopped when the test ends.
func Start(t testing.TB, dir string, lines ...string) *Postfix {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Postfix{Dir: dir, Addr: l.Addr().String(), t: t}
	l.Close()
	if err := p.configure(lines); err != nil {
		t.Fatal(err)
	}
	if b, err := p.run("start"); err != nil {
		t.Fatalf("postfix start: %v\n%s", err, b)
	}
	p.running = true
	t.Cleanup(p.Stop)
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", p.Addr)
		if err == nil {
			c.Close()
			return p
		}
		if time.Now().After(end) {
			t.Fatal("Postfix does not take connections: ", err)
		}
	}
}

func (p *Postfix) configure(lines []string) error {
	conf := p.Dir + "/conf"
	for _, d := range []string{conf, p.Dir + "/spool", p.Dir + "/data"} {
		if err := os.Mkdir(d, 0755); err != nil {
			return err
		}
	}
	if out, err := exec.Command("chown", "postfix", p.Dir+"/data").CombinedOutput(); err != nil {
		return fmt.Errorf("chown: %w: %s", err, out)
	}
	for _, name := range []string{"dynamicmaps.cf", "postfix-files", "postfix-script", "post-install"} {
		if b, err := os.ReadFile("/etc/postfix/" + name); err == nil {
			if err := os.WriteFile(conf+"/"+name, b, 0755); err != nil {
				return err
			}
		}
	}
	if err := os.WriteFile(p.Log(), nil, 0666); err != nil {
		return err
	}
	if err := os.WriteFile(conf+"/master.cf", []byte(p.services()), 0644); err != nil {
		return err
	}
	lines = append([]string{"compatibility_level = 3.6", "queue_directory = " + p.Dir + "/spool", "data_directory = " + p.Dir + "/data",
		"mail_owner = postfix", "setgid_group = postdrop", "config_directory = " + conf, "command_directory = /usr/sbin",
		"daemon_directory = /usr/lib/postfix/sbin", "inet_interfaces = 127.0.0.1", "inet_protocols = ipv4", "myhostname = mx.instance.test",
		"mydestination =", "mynetworks = 127.0.0.0/8", "maillog_file = " + p.Log(), "maillog_file_prefixes = " + p.Dir,
		"smtp_tls_security_level = none", "smtpd_tls_security_level = none", "smtpd_client_connection_count_limit = 0",
		"smtpd_peername_lookup = no", "smtp_host_lookup = native", "disable_dns_lookups = yes", "enable_long_queue_ids = yes", "alias_maps =", "alias_database =", "local_recipient_maps ="}, lines...)
	// Postfix warns of what is set twice.
	at := map[string]int{}
	var text []string
	for _, l := range lines {
		name, _, _ := strings.Cut(l, "=")
		name = strings.TrimSpace(name)
		if k, ok := at[name]; ok {
			text[k] = l
			continue
		}
		at[name] = len(text)
		text = append(text, l)
	}
	return os.WriteFile(conf+"/main.cf", []byte(strings.Join(text, "\n")+"\n"), 0644)
}

// services is the stock master.cf with our port and without chroot.
func (p *Postfix) services() string {
	b, _ := os.ReadFile(stock)
	var out strings.Builder
	for l := range strings.Lines(string(b)) {
		f := strings.Fields(l)
		if len(f) >= 8 && !strings.HasPrefix(l, "#") && !strings.HasPrefix(l, " ") {
			f[4] = "n"
			if f[0] == "smtp" && f[1] == "inet" {
				f[0] = p.Addr
			}
			l = strings.Join(f, " ") + "\n"
		}
		out.WriteString(l)
	}
	return out.String()
}

func (p *Postfix) run(verb string) ([]byte, error) {
	return exec.Command("/usr/sbin/postfix", "-c", p.Dir+"/conf", verb).CombinedOutput()
}

// Log is the log file.
func (p *Postfix) Log() string { return p.Dir + "/maillog" }

// PID is the process id of master.
func (p *Postfix) PID() (pid int) {
	b, _ := os.ReadFile(p.Dir + "/spool/pid/master.pid")
	fmt.Sscan(string(b), &pid)
	return pid
}

// Command is one of Postfix's commands, such as postqueue, for this instance.
func (p *Postfix) Command(name string, args ...string) *exec.Cmd {
	path := filepath.Join("/usr/sbin", name)
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join("/usr/bin", name) // mailq, newaliases
	}
	cmd := exec.Command(path, args...)
	cmd.Env = []string{"MAIL_CONFIG=" + p.Dir + "/conf", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TZ=UTC"}
	cmd.Dir = "/"
	return cmd
}

// Stop stops the instance.
func (p *Postfix) Stop() {
	if p.running {
		p.running = false
		if b, err := p.run("stop"); err != nil {
			p.t.Logf("postfix stop: %v\n%s", err, b)
		}
	}
}
