//go:build bench

package bench

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// others are systems that Debian does not install beside Postfix: `bench/others unpack`
// puts their files below build/others. Exim has its limit of immediate deliveries for
// each connection switched off, else most messages wait for a queue run.
var others = []kind{
	{"OpenSMTPD", noOther("opensmtpd/usr/sbin/smtpd"), other("opensmtpd")},
	{"Exim", noOther("exim4-daemon-light/usr/sbin/exim4"), other("exim")},
}

func noOther(file string) func() bool {
	return func() bool {
		_, err := os.Stat("../build/others/" + file)
		return err != nil || os.Geteuid() != 0
	}
}

// foreign is one of them. Of its commands none is used here.
type foreign struct {
	t       *testing.T
	address string
	cmd     *exec.Cmd
	dir     string
}

func other(name string) func(t *testing.T, s setting) system {
	return func(t *testing.T, s setting) system {
		t.Helper()
		port := freePort(t)
		_, relay, err := net.SplitHostPort(s.relay)
		if err != nil {
			t.Fatal(err)
		}
		f := &foreign{t: t, address: "127.0.0.1:" + port, dir: scratch(t, s.dir)}
		script, err := filepath.Abs("others")
		if err != nil {
			t.Fatal(err)
		}
		f.cmd = exec.Command(script, name, f.dir, port, relay)
		f.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		var said strings.Builder
		f.cmd.Stderr = &said
		if err := f.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.stop)
		await(t, name+"'s greeting", func() bool {
			c, err := net.Dial("tcp", f.address)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
		return f
	}
}

func (f *foreign) addr() string                                    { return f.address }
func (f *foreign) pid() int                                        { return f.cmd.Process.Pid }
func (f *foreign) log() string                                     { return f.dir + "/log/exim4/mainlog" }
func (f *foreign) queued() int                                     { return filesBelow(f.dir + "/spool") }
func (f *foreign) command(name string, args ...string) *exec.Cmd   { return exec.Command("false") }
func (f *foreign) sendmail(stdin []byte, args ...string) *exec.Cmd { return exec.Command("false") }

func (f *foreign) stop() {
	if f.cmd.ProcessState == nil {
		syscall.Kill(-f.cmd.Process.Pid, syscall.SIGTERM)
		f.cmd.Wait()
	}
}

var accepting = newTable("Accepting only", "4 KB, 20 kept sessions, until smtp-source has its last reply; what happens to the mail afterwards is not measured. OpenSMTPD hands its mail to one destination at some 20 a second.",
	"system", "messages/s", "processor time meanwhile", "by program")

// TestOthers accepts mail, in turns with OpenSMTPD and Exim, whose way onward is theirs.
func TestOthers(t *testing.T) {
	needTool(t, "smtp-source")
	type player struct {
		kind
		system
		res result
	}
	var players []*player
	sink := startCounter(t)
	for _, k := range append([]kind{kinds[0], kinds[1]}, others...) {
		if !k.missing() {
			p := &player{kind: k, system: k.start(t, setting{dir: scratch(t, *work), relay: sink.relay()})}
			kept20.source(t, p.addr(), 100) // warm
			players = append(players, p)
		}
	}
	for range *rounds {
		for _, p := range players {
			n := kept20.messages(p.name)
			before, start := used(p.pid()), time.Now()
			kept20.source(t, p.addr(), n)
			p.res.rates = append(p.res.rates, float64(n)/time.Since(start).Seconds())
			p.res.add(used(p.pid()).minus(before), n)
		}
	}
	for _, p := range players {
		accepting.row(p.name, p.res.span(), number(p.res.cpu.total/float64(p.res.messages))+" µs", p.res.each())
		p.stop()
	}
}
