package master

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postrider/lib/daemon"
)

// The test binary is master, and every daemon, by the name it is called.
func TestMain(m *testing.M) {
	name := filepath.Base(os.Args[0])
	if name == "master" || name == "postrider" {
		Main()
		os.Exit(0)
	}
	for _, p := range programs {
		if p.name == name {
			daemon.Run(name, fake)
		}
	}
	code := m.Run()
	os.RemoveAll(binaries)
	os.Exit(code)
}

// binaries is a directory with a copy of the test binary that any user may run.
var binaries string

func binary(t *testing.T) string {
	t.Helper()
	if binaries == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		if binaries, err = os.MkdirTemp("", "postrider-master"); err != nil {
			t.Fatal(err)
		}
		os.Chmod(binaries, 0755)
		if err := os.WriteFile(binaries+"/test", text, 0755); err != nil {
			t.Fatal(err)
		}
	}
	return binaries + "/test"
}

// fake is a daemon that logs what happens to it, and greets every partner by
// its name. Listeners say who serves. A connection to public/pickup may send a
// word that makes it die.
func fake(ctx context.Context, d *daemon.Daemon) error {
	if b, err := d.File("/etc/hosts"); err == nil && len(b) > 0 {
		d.Log.Infof("has /etc/hosts")
	}
	me := d.Program + "." + strconv.Itoa(d.Number)
	seen := map[string]bool{}
	listen := func() {
		for name, l := range d.Listeners() {
			if seen[name] {
				continue
			}
			seen[name] = true
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					fmt.Fprintf(c, "%s %s %s\n", me, name, d.Config().String("myhostname"))
					c.Close()
				}
			}()
		}
	}
	listen()
	tables := func(what string) {
		for _, p := range d.Config().List("transport_maps") {
			_, path, _ := strings.Cut(p, ":")
			b, err := d.File(path)
			d.Log.Infof("%s: %s table %q %v", what, d.Config().String("myhostname"), b, err)
		}
	}
	d.OnPartner(func(name string, sock *net.UnixConn) {
		fmt.Fprintf(sock, "%s\n", me)
		go func() {
			l, _ := bufio.NewReader(sock).ReadString('\n')
			d.Log.Infof("partner %s is %s", name, strings.TrimSpace(l))
			<-ctx.Done()
			sock.Close()
		}()
	})
	d.OnReload(func() {
		listen()
		tables("reload")
	})
	d.Ready()
	tables("ready")
	d.Log.Infof("ready %s uid %d groups %v", me, os.Getuid(), first(os.Getgroups()))
	<-d.Stopping()
	d.Log.Infof("stopping %s", me)
	if d.Config().String("mail_name") == "Dawdler" && d.Program == "cleanup" {
		time.Sleep(700 * time.Millisecond) // what it has in hand takes a while
	}
	return nil
}

func first[T any](v T, _ error) T { return v }

// world is an instance in a directory of its own.
type world struct {
	t              *testing.T
	dir, bin, port string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	os.Chmod(filepath.Dir(w.dir), 0755)
	w.bin = filepath.Join(w.dir, "bin")
	os.Mkdir(w.bin, 0755)
	for _, name := range []string{"master", "postrider", "cleanup", "qmgr", "bounce", "local", "smtp", "smtpd"} {
		if err := os.Symlink(binary(t), filepath.Join(w.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.port = l.Addr().String()
	l.Close()
	w.write("table", "a b")
	w.main()
	w.write("etc/master.cf", w.port+" inet n - n - - smtpd\nrelay unix - - n - - smtp\nlocal unix - n n - - local\n")
	return w
}

// main writes main.cf with more settings.
func (w *world) main(more ...string) {
	w.t.Helper()
	w.write("etc/main.cf", strings.Join(append([]string{
		"queue_directory = " + w.dir + "/queue", "data_directory = " + w.dir + "/data", "daemon_directory = " + w.bin,
		"maillog_file = " + w.dir + "/log", "myhostname = one.example", "mydestination =", "alias_maps =", "local_recipient_maps =",
		"inet_interfaces = loopback-only", "default_process_count = 2", "transport_maps = texthash:" + w.dir + "/table"}, more...), "\n")+"\n")
}

func (w *world) write(name, text string) {
	w.t.Helper()
	name = filepath.Join(w.dir, name)
	os.MkdirAll(filepath.Dir(name), 0755)
	if err := os.WriteFile(name, []byte(text), 0644); err != nil {
		w.t.Fatal(err)
	}
}

// command makes a command of the instance. The root of a test environment has
// no accounts, so master runs as another user where it can.
func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(w.bin, "postrider"), append([]string{"-c", filepath.Join(w.dir, "etc")}, args...)...)
	if os.Getuid() == 0 {
		filepath.Walk(w.dir, func(path string, _ os.FileInfo, _ error) error { return os.Lchown(path, 65534, 65534) })
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	return cmd
}

// run runs a command to its end.
func (w *world) run(args ...string) (string, int) {
	w.t.Helper()
	cmd := w.command(args...)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

// start runs master in the foreground until the test ends.
func (w *world) start() *exec.Cmd {
	w.t.Helper()
	cmd := w.command()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Signal(syscall.SIGQUIT)
			cmd.Wait()
		}
		if w.t.Failed() {
			w.t.Logf("log:\n%s", w.log())
		}
	})
	return cmd
}

func (w *world) log() string {
	b, _ := os.ReadFile(filepath.Join(w.dir, "log"))
	return string(b)
}

// wait waits until the log has n lines that match, and returns the last.
func (w *world) wait(n int, pattern string) []string {
	w.t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if all := re.FindAllStringSubmatch(w.log(), -1); len(all) >= n {
			return all[len(all)-1]
		}
	}
	w.t.Fatalf("the log has not %d lines with %s", n, pattern)
	return nil
}

// up waits until all daemons are ready and connected.
func (w *world) up() {
	w.t.Helper()
	for _, p := range []string{"cleanup.0", "qmgr.0", "bounce.0", "local.0", "smtp.0", "smtp.1", "smtpd.0", "smtpd.1"} {
		w.wait(1, "ready "+regexp.QuoteMeta(p)+" ")
	}
	w.wait(18, "partner ")
}

func (w *world) pid(program string) int {
	w.t.Helper()
	pid, _ := strconv.Atoi(w.wait(1, "postfix/"+program+`\[(\d+)\]: ready `)[1])
	return pid
}

func (w *world) dial(network, addr string) string {
	w.t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	l, _ := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(l)
}
