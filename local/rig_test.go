package local

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postrider/lib/agent"
	"postrider/lib/config"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/proto"
	"postrider/lib/submit/submittest"
	"postrider/lib/table/tabletest"
)

// The test program is its own helper, as the daemon is.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == helperArg {
		if b, err := os.ReadFile(hangFile(os.Getppid())); err == nil && string(b) == fmt.Sprint(os.Getuid()) {
			time.Sleep(time.Hour) // as in a file server's hands
		}
		os.Exit(helper(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// hangFile has the uid whose helpers of a process hang; they can read it.
func hangFile(pid int) string { return fmt.Sprintf("/tmp/postrider-hang-%d", pid) }

// files are what master would grant, by path.
type files map[string]string

func (f files) open(path string) (*io.SectionReader, error) { return tabletest.Files(f).Open(path) }

func rootOwns(string) uint32 { return 0 }

// rig is a deliverer with a spool of its own and a cleanup of the test.
type rig struct {
	*deliverer
	t       *testing.T
	dir     string // mail_spool_directory
	cleanup *submittest.Cleanup
	logfile string
	files   files
	set     []config.Setting
}

// config is that of the rig with further settings "name=value".
func (r *rig) config(settings ...string) *config.Config {
	r.t.Helper()
	snap := config.Snapshot{Dir: "/c", Settings: slices.Clone(r.set)}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		snap.Settings = append(snap.Settings, config.Setting{Name: name, Value: value})
	}
	c, err := config.FromSnapshot(snap)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func newRig(t *testing.T, root bool, f files, settings ...string) *rig {
	t.Helper()
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "mail"), cleanup: &submittest.Cleanup{}, logfile: filepath.Join(t.TempDir(), "log")}
	snap := config.Snapshot{Dir: t.TempDir(), Settings: []config.Setting{
		{Name: "myhostname", Value: "mail.example.com"}, {Name: "myorigin", Value: "example.com"},
		{Name: "mydestination", Value: "example.com, localhost"}, {Name: "mail_spool_directory", Value: r.dir + "/"},
		{Name: "local_recipient_maps", Value: ""}, {Name: "recipient_delimiter", Value: "+"},
	}}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		snap.Settings = append(snap.Settings, config.Setting{Name: name, Value: value})
	}
	if _, ok := f["/etc/aliases"]; !ok {
		f = files{"/etc/passwd": f["/etc/passwd"], "/etc/group": f["/etc/group"], "/etc/aliases": ""}
	}
	r.files, r.set = f, snap.Settings
	c := r.config()
	s, err := newSite(c, f.open, rootOwns, root)
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.Create(r.logfile)
	if err != nil {
		t.Fatal(err)
	}
	log := maillog.New("postfix/local", maillog.Options{Host: "h"})
	log.Open(w, maillog.File)
	t.Cleanup(log.Close)
	r.deliverer = &deliverer{ids: mail.IDs{Number: 7}, log: log, now: time.Now}
	r.site.Store(s)
	sock, err := r.cleanup.Serve()
	if err != nil {
		t.Fatal(err)
	}
	r.submit.Connect(sock)
	t.Cleanup(r.cleanup.Close)
	return r
}

func (r *rig) lines() string {
	r.log.Flush()
	b, err := os.ReadFile(r.logfile)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

const letter = "From: alice@example.org\r\nSubject: hello\r\n\r\nfirst line\r\nlast\r\n"

func request(content string, to ...string) *agent.Request {
	b := []byte(content)
	q := &agent.Request{Lane: 3,
		Deliver: proto.Deliver{Service: "local", NextHop: "mail.example.com", Queue: "4Z6Tpg1TSdzk", File: 5, Slot: 6, Sender: "alice@example.org",
			Arrival: time.Now(), Size: int64(len(b))},
		Content: agent.NewInline(b, agent.Checksum(b))}
	for i, a := range to {
		q.Recipients = append(q.Recipients, proto.DeliverRecipient{Index: uint32(i + 3), Recipient: mail.Recipient{Address: mail.Address(a)}})
	}
	return q
}

// do delivers to one recipient.
func (r *rig) do(q *agent.Request) proto.RecipientResult {
	r.t.Helper()
	res := r.handle(context.Background(), q)
	if len(res.Recipients) != 1 || res.Hop.Class != mail.Sent || res.Recipients[0].Index != q.Recipients[0].Index {
		r.t.Fatalf("%+v", res)
	}
	return res.Recipients[0]
}

// says checks an outcome: "sent 2.0.0 delivered to maildir".
func says(t *testing.T, rr proto.RecipientResult, want string) {
	t.Helper()
	st := rr.Status
	if got := st.Class.String() + " " + st.DSN + " " + st.Text; !strings.Contains(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// read returns the messages in a Maildir, sorted by text.
func read(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	list, err := os.ReadDir(filepath.Join(dir, "new"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range list {
		b, err := os.ReadFile(filepath.Join(dir, "new", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	if rest, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(rest) > 0 {
		t.Errorf("%d files left in tmp/", len(rest))
	}
	slices.Sort(out)
	return out
}
