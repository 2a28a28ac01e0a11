package smtp

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postrider/lib/agent"
	"postrider/lib/config"
	"postrider/lib/ipc"
	"postrider/lib/maillog"
	"postrider/lib/proto"
)

func TestMain(m *testing.M) {
	if os.Getenv("TEST_SMTP") != "" {
		Main()
	}
	os.Exit(m.Run())
}

// TestDaemon starts the program as master does: two messages by two services, a
// reload, and the end.
func TestDaemon(t *testing.T) {
	s := listen(t, "127.0.0.1:0", nil)
	dir := t.TempDir()
	a, b, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	child := os.NewFile(uintptr(b), "control")
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"TEST_SMTP=1"}
	cmd.ExtraFiles = []*os.File{child}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	child.Close()
	defer cmd.Process.Kill()
	sock, err := ipc.FromFD(a)
	if err != nil {
		t.Fatal(err)
	}
	sock.SetDeadline(time.Now().Add(20 * time.Second))
	master := ipc.New(sock, 0)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v; standard error: %s", err, said.String())
		}
	}
	_, err = master.Greet(ipc.Hello{Protocol: proto.ControlName, Version: proto.ControlVersion})
	must(err)

	setup := func(mainCF string) {
		files := map[string]string{"/c/main.cf": mainCF, "/c/master.cf": "smtp unix - - n - 7 smtp\nrelay unix - - n - - smtp -o smtp_helo_name=relay.test -o syslog_name=postfix/relay\n"}
		c, problems := config.Source{Dir: "/c", Host: config.Host{Name: "us.test"}, ReadFile: func(p string) ([]byte, error) { return []byte(files[p]), nil }}.Load()
		must(problems.Err())
		snap := c.Snapshot()
		must(master.Send(proto.TypeSetup, &proto.Setup{Program: "smtp", Of: 1, Snapshot: snap.Append(nil)}))
	}
	grant := func(kind proto.GrantKind, name string, f *os.File) {
		must(master.SendFDs(proto.TypeGrant, &proto.Grant{Kind: kind, Name: name}, int(f.Fd())))
		f.Close()
	}
	open := func(name, text string, flag int) *os.File {
		path := filepath.Join(dir, name)
		must(os.WriteFile(path, []byte(text), 0o600))
		f, err := os.OpenFile(path, flag, 0)
		must(err)
		return f
	}
	setup("myhostname = us.test\n")
	grant(proto.GrantLog, "file", open("log", "", os.O_WRONLY|os.O_APPEND))
	grant(proto.GrantFile, "/etc/resolv.conf", open("resolv.conf", "nameserver 127.0.0.1\n", os.O_RDONLY))
	grant(proto.GrantFile, "/etc/hosts", open("hosts", "127.0.0.1 mx.test\n", os.O_RDONLY))
	x, y, err := ipc.Pair()
	must(err)
	grant(proto.GrantPartner, "qmgr", os.NewFile(uintptr(y), "qmgr"))
	must(master.Send(proto.TypeGo, nil))
	f, err := master.Next()
	if must(err); f.Type != proto.TypeReady {
		t.Fatal(f.Type)
	}

	sock, err = ipc.FromFD(x)
	must(err)
	sock.SetDeadline(time.Now().Add(20 * time.Second))
	q := ipc.New(sock, 0)
	_, err = q.Greet(ipc.Hello{Protocol: proto.DeliverName, Version: proto.DeliverVersion})
	must(err)
	deliver := func(service, next string) string {
		t.Helper()
		d := deliverTo(next, testMail, "a")
		d.ID.Seq++
		d.Service, d.Queue, d.Inline, d.Size, d.CRC = service, "Q1", true, int64(len(testMail)), agent.Checksum([]byte(testMail))
		must(q.Send(proto.TypeDeliver, d))
		f, err := q.Next()
		must(err)
		var res proto.Result
		must(res.Decode(f.Payload))
		must(q.Send(proto.TypeAck, &proto.Ack{IDs: []proto.DeliveryID{res.ID}}))
		return render(res)
	}
	for _, service := range []string{"smtp", "relay"} {
		if got := deliver(service, fmt.Sprintf("[127.0.0.1]:%d", s.port())); !strings.HasPrefix(got, "0 sent") {
			t.Error(got)
		}
	}
	setup("myhostname = new.test\ndisable_dns_lookups = yes\n")
	must(master.Send(proto.TypeGo, nil))
	until(t, "a host of the hosts file, after the reload", func() bool {
		return strings.HasPrefix(deliver("smtp", fmt.Sprintf("mx.test:%d", s.port())), "0 sent")
	})
	must(master.Send(proto.TypeStop, &proto.Stop{Grace: 1000}))
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, said.String())
	}
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	must(err)
	for _, want := range []string{" postfix/smtp[", " postfix/relay/smtp["} {
		if !strings.Contains(string(log), want) {
			t.Errorf("no %q in the log:\n%s", want, log)
		}
	}
	if got := s.commands(); !strings.Contains(got, "EHLO us.test\n") || !strings.Contains(got, "EHLO relay.test\n") {
		t.Error(got)
	}
}

// TestNameServers: dns_nameservers before resolv.conf before this machine.
func TestNameServers(t *testing.T) {
	for _, c := range []struct{ set, file, want string }{
		{"", "nameserver 192.0.2.1\n", "[192.0.2.1:53]"}, {"192.0.2.2:5353, [2001:db8::1]:53", "nameserver 192.0.2.1\n", "[192.0.2.2:5353 [2001:db8::1]:53]"},
		{"", "", "[]"},
	} {
		conf, err := config.FromSnapshot(config.Snapshot{Dir: "/x", Settings: []config.Setting{{Name: "dns_nameservers", Value: c.set}}})
		if err != nil {
			t.Fatal(err)
		}
		file := func(string) ([]byte, error) {
			if c.file == "" {
				return nil, fs.ErrNotExist
			}
			return []byte(c.file), nil
		}
		got := nameServers(conf, file, maillog.New("x", maillog.Options{}))
		if fmt.Sprint(slices.Clone(got.Servers)) != c.want {
			t.Errorf("%q: %v, want %s", c.set, got.Servers, c.want)
		}
	}
}
