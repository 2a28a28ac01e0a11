package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"postrider/bench/sim/recording"
)

const (
	smtpdPort = 12525 // where mail is sent in
	sinkPort  = 12526 // of each destination
)

// postfix is a private instance of Debian's Postfix below dir.
type postfix struct{ dir string }

// services is what the instance runs: the stock services, none in a chroot.
const services = `127.0.0.1:%d inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - %d smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// start makes the instance and starts it.
func start(dir string, r *recording.Recording) (*postfix, error) {
	p := &postfix{dir}
	for _, sub := range []string{"conf", "spool", "data"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"dynamicmaps.cf", "postfix-files", "postfix-script", "post-install"} {
		if data, err := os.ReadFile("/etc/postfix/" + name); err == nil {
			if err := os.WriteFile(filepath.Join(dir, "conf", name), data, 0o755); err != nil {
				return nil, err
			}
		}
	}
	seconds := func(name string, n float64) string { return fmt.Sprintf("%s = %.0fs", name, n) }
	lines := []string{
		"compatibility_level = 3.6", "queue_directory = " + dir + "/spool", "data_directory = " + dir + "/data",
		"mail_owner = postfix", "setgid_group = postdrop", "config_directory = " + dir + "/conf",
		"command_directory = /usr/sbin", "daemon_directory = /usr/lib/postfix/sbin",
		"inet_interfaces = 127.0.0.1", "inet_protocols = ipv4", "myhostname = mx.test.local", "mydestination =", "alias_maps =",
		"mynetworks = 127.0.0.0/8", "maillog_file = " + dir + "/maillog", "maillog_file_prefixes = " + dir,
		"smtp_tls_security_level = none", "smtpd_tls_security_level = none", "smtpd_client_connection_count_limit = 0",
		"smtpd_peername_lookup = no", "smtp_host_lookup = native", "disable_dns_lookups = yes",
		// The domain dN.test goes to destination N; each delivery is a connection of its own.
		"transport_maps = inline:{" + routes(r) + "}", "smtp_connection_cache_on_demand = no",
		"in_flow_delay = 0s", "smtpd_client_message_rate_limit = 0", "smtpd_recipient_limit = 2000",
		fmt.Sprintf("initial_destination_concurrency = %d", r.Limits.Initial),
		fmt.Sprintf("default_destination_concurrency_limit = %d", r.Limits.Concurrency),
		fmt.Sprintf("default_destination_recipient_limit = %d", r.Limits.Recipients),
		fmt.Sprintf("qmgr_message_active_limit = %d", r.Limits.Active),
		seconds("minimal_backoff_time", r.Limits.MinBackoff.Seconds()), seconds("maximal_backoff_time", r.Limits.MaxBackoff.Seconds()),
		seconds("queue_run_delay", r.Limits.QueueRun.Seconds()),
	}
	err := errors.Join(
		os.Chmod(dir, 0o755),
		exec.Command("chown", "postfix", dir+"/data").Run(),
		os.WriteFile(dir+"/maillog", nil, 0o666),
		os.WriteFile(dir+"/conf/main.cf", []byte(strings.Join(lines, "\n")+"\n"), 0o644),
		os.WriteFile(dir+"/conf/master.cf", fmt.Appendf(nil, services, smtpdPort, r.Limits.Slots), 0o644))
	if err != nil {
		return nil, err
	}
	return p, p.command("postfix", "start")
}

func routes(r *recording.Recording) string {
	var s strings.Builder
	for i, d := range r.Destinations {
		fmt.Fprintf(&s, " {d%d.test=smtp:%s}", i, d.Name)
	}
	return s.String()
}

// command runs one of Postfix's commands on the instance.
func (p *postfix) command(name string, args ...string) error {
	out, err := exec.Command("/usr/sbin/"+name, append([]string{"-c", p.dir + "/conf"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

func (p *postfix) stop() error { return p.command("postfix", "stop") }

// signal sends a signal to the queue manager of the instance, a child of its
// master, and of no other.
func (p *postfix) signal(sig syscall.Signal) error {
	text, err := os.ReadFile(p.dir + "/spool/pid/master.pid")
	if err != nil {
		return err
	}
	master := strings.TrimSpace(string(text))
	children, err := os.ReadFile("/proc/" + master + "/task/" + master + "/children")
	if err != nil {
		return err
	}
	for _, child := range strings.Fields(string(children)) {
		name, _ := os.ReadFile("/proc/" + child + "/comm")
		if strings.TrimSpace(string(name)) == "qmgr" {
			pid, err := strconv.Atoi(child)
			if err != nil {
				return err
			}
			return syscall.Kill(pid, sig)
		}
	}
	return errors.New("no queue manager runs")
}
