package smtpd

import (
	"context"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postrider/lib/config"
	"postrider/lib/maillog"
	"postrider/lib/submit/submittest"
)

// instance is a server with one service, in front of a cleanup of the test.
type instance struct {
	*server
	t       testing.TB
	addr    string
	cleanup *submittest.Cleanup
	logFile string
}

// mainCf is what the instances of tests have in common.
const mainCf = `
myhostname = mx.ours.example
mydestination = ours.example, $myhostname, localhost
relay_domains = relayed.example
mynetworks = 192.0.2.0/24
local_recipient_maps = inline:{alice=x, bob=x, postmaster=x}
relay_recipient_maps = inline:{known@relayed.example=x}
alias_maps =
alias_database =
`

func settingsFor(t testing.TB, log *maillog.Logger, main string) *settings {
	t.Helper()
	host := config.Host{Name: "mx.ours.example", Nets: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}}
	cfg, problems := config.Source{Dir: "/c", Host: host, ReadFile: func(path string) ([]byte, error) {
		switch path {
		case "/c/main.cf":
			return []byte(mainCf + main), nil
		case "/c/master.cf":
			return []byte("smtp inet n - n - - smtpd\n"), nil
		}
		return nil, fs.ErrNotExist
	}}.Load()
	if cfg == nil {
		t.Fatalf("%v", problems)
	}
	return newSettings(cfg, func(path string) (*io.SectionReader, error) { return nil, fs.ErrNotExist },
		policies(func(name string) (net.Conn, error) { return net.Dial("tcp", strings.TrimPrefix(name, "inet:")) }, log), log)
}

// run starts an instance whose main.cf has the given lines too.
func run(t testing.TB, main string, cleanup *submittest.Cleanup) *instance {
	t.Helper()
	log := maillog.New("postfix/smtpd", maillog.Options{Host: "mx"})
	name := filepath.Join(t.TempDir(), "log")
	w, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	log.Open(w, maillog.File)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i := &instance{server: newServer(log), t: t, addr: l.Addr().String(), cleanup: cleanup, logFile: name}
	i.connect()
	i.listen("smtp/inet", l, log, settingsFor(t, log, main), 100)
	t.Cleanup(func() {
		if !i.stopped() {
			i.stop()
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		i.wait(ctx)
		if ctx.Err() != nil {
			t.Error("sessions are left over")
		}
		i.submit.Close()
		i.cleanup.Close()
		log.Close()
	})
	return i
}

// connect gives the server a new connection to its cleanup.
func (i *instance) connect() {
	sock, err := i.cleanup.Serve()
	if err != nil {
		i.t.Fatal(err)
	}
	i.submit.Connect(sock)
}

// logged returns the log so far.
func (i *instance) logged() string {
	i.log.Flush()
	b, err := os.ReadFile(i.logFile)
	if err != nil {
		i.t.Fatal(err)
	}
	return string(b)
}

// waitLog waits until the log has the text.
func (i *instance) waitLog(text string) {
	i.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(i.logged(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			i.t.Fatalf("the log has no %q:\n%s", text, i.logged())
		}
	}
}
