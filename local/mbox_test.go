package local

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// box is a mailbox file of a test with all locks.
func box(t *testing.T) *mbox {
	return &mbox{Path: filepath.Join(t.TempDir(), "bob"), Dotlock: true, Flock: true, Fcntl: true, Attempts: 3, Delay: 10 * time.Millisecond,
		Stale: time.Minute, Strict: true}
}

func put(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		q := &fromLines{w: w}
		if _, err := io.WriteString(q, text); err != nil {
			return err
		}
		return q.end()
	}
}

func TestFromLines(t *testing.T) {
	const in = "Subject: x\n\nFrom me to you\nFrom\nFro\n From here\n>From old\nFrommage\n\nFrom "
	const want = "Subject: x\n\n>From me to you\nFrom\nFro\n From here\n>From old\nFrommage\n\n>From \n"
	for size := 1; size <= len(in); size++ { // in pieces of any size
		var b bytes.Buffer
		q := &fromLines{w: &b}
		for rest := in; rest != ""; {
			n := min(size, len(rest))
			q.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		if err := q.end(); err != nil || b.String() != want {
			t.Fatalf("pieces of %d: %q", size, b.String())
		}
	}
}

// C73: what must never be written to is refused, and said.
func TestC73Refused(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(m *mbox) error
		want    string
	}{
		"symbolic link": {func(m *mbox) error {
			return errors.Join(os.Chmod(filepath.Dir(m.Path), 0o777), os.Symlink(m.Path+"x", m.Path))
		}, "bounced 5.2.0 cannot update mailbox PATH for user bob. PATH is a symbolic link"},
		"hard link":      {func(m *mbox) error { os.WriteFile(m.Path+"x", nil, 0o600); return os.Link(m.Path+"x", m.Path) }, "bounced 5.2.0 cannot update mailbox PATH for user bob. destination PATH has 2 names"},
		"FIFO":           {func(m *mbox) error { return unix.Mkfifo(m.Path, 0o600) }, "bounced 5.2.0 cannot update mailbox PATH for user bob. destination PATH is not a regular file"},
		"directory":      {func(m *mbox) error { return os.Mkdir(m.Path, 0o700) }, "bounced 5.2.0 cannot update mailbox PATH for user bob. destination PATH is not a regular file"},
		"fresh dot lock": {func(m *mbox) error { return os.WriteFile(m.Path+".lock", nil, 0o600) }, "deferred 4.2.0 cannot update mailbox PATH for user bob. file is locked: unable to create lock file PATH.lock"},
		"no directory":   {func(m *mbox) error { m.Path = filepath.Join(m.Path, "x"); return nil }, "deferred 4.2.0 cannot update mailbox PATH for user bob. unable to create lock file"},
		"over the limit": {func(m *mbox) error { m.Limit = 3; return nil }, "deferred 4.2.2 cannot update mailbox PATH for user bob. "},
	} {
		m := box(t)
		if err := c.prepare(m); err != nil {
			t.Fatal(err)
		}
		st := m.status("bob", m.deliver(put("text\n")))
		if got := fmt.Sprint(st.Class, " ", st.DSN, " ", st.Text); !strings.HasPrefix(got, strings.ReplaceAll(c.want, "PATH", m.Path)) {
			t.Errorf("%s: got %s", name, got)
		}
	}
	if os.Getuid() == 0 {
		m := box(t)
		write(t, m.Path, "", 0o600, nobody)
		if st := m.status("bob", m.deliver(put("x"))); st.DSN != "4.2.0" || !strings.Contains(st.Text, "is not owned by recipient") {
			t.Errorf("another's: %+v", st)
		}
		m.Strict = false
		if st := m.status("bob", m.deliver(put("x"))); st.Text != "delivered to mailbox" {
			t.Errorf("strict_mailbox_ownership = no: %+v", st)
		}
	}
}

// C73: a write that fails in the middle leaves the mailbox as it was.
func TestC73CutBack(t *testing.T) {
	m := box(t)
	if err := m.deliver(put("one\n")); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(m.Path)
	boom := errors.New("EIO half way")
	err := m.deliver(func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		return boom
	})
	after, _ := os.ReadFile(m.Path)
	if !errors.Is(err, boom) || !bytes.Equal(before, after) {
		t.Errorf("%v, %d bytes for %d", err, len(after), len(before))
	}
	m.Limit = 100
	if err := m.deliver(put(strings.Repeat("x", 200000))); !errors.Is(err, unix.EFBIG) {
		t.Errorf("over the limit: %v", err)
	}
	if after, _ = os.ReadFile(m.Path); !bytes.Equal(before, after) {
		t.Errorf("%d bytes for %d", len(after), len(before))
	}
	if _, err := os.Lstat(m.Path + ".lock"); err == nil {
		t.Error("the lock file stays")
	}
}

// C73: each lock keeps others out, alone too, and a forgotten lock file does not.
func TestC73Locks(t *testing.T) {
	for _, which := range []string{"dotlock", "flock", "fcntl"} {
		m := box(t)
		m.Dotlock, m.Flock, m.Fcntl, m.Attempts = which == "dotlock", which == "flock", which == "fcntl", 20000
		m.Delay = time.Millisecond
		var all sync.WaitGroup
		for i := range 100 { // 100 writers
			all.Go(func() {
				one := *m
				if err := one.deliver(func(w io.Writer) error {
					for _, half := range []string{"begin", "end\n"} {
						if _, err := io.WriteString(w, strings.Repeat(fmt.Sprintf("%s%d ", half[:3], i), 3000)); err != nil {
							return err
						}
					}
					_, err := io.WriteString(w, "\n")
					return err
				}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		b, _ := os.ReadFile(m.Path)
		lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		if len(lines) != 100 {
			t.Fatalf("%s: %d lines", which, len(lines))
		}
		for _, l := range lines {
			words := strings.Fields(l)
			for _, w := range words {
				if w[3:] != words[0][3:] {
					t.Fatalf("%s: messages are mixed: %s in one of %s", which, w, words[0])
				}
			}
		}
	}
	m := box(t)
	os.WriteFile(m.Path+".lock", nil, 0o600)
	os.Chtimes(m.Path+".lock", time.Now().Add(-time.Hour), time.Now().Add(-time.Hour))
	if err := m.deliver(put("x")); err != nil {
		t.Errorf("a forgotten lock: %v", err)
	}
}

// The traditional mailbox: Debian's /var/mail, home_mailbox, and mail with a From line.
func TestMailboxAsRoot(t *testing.T) {
	r, homes := asRoot(t, "home_mailbox=")
	spool := filepath.Join(homes, "spool")
	if err := errors.Join(os.Mkdir(spool, 0o755), os.Chown(spool, 0, 8), os.Chmod(spool, 0o775|os.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	r.aliases("", 0, nil, "home_mailbox=", "mail_spool_directory="+spool)
	for range 2 {
		says(t, r.do(request("Subject: x\r\n\r\nFrom here\r\n", "bob@example.com")), "sent 2.0.0 delivered to mailbox")
	}
	b, _ := os.ReadFile(spool + "/bob")
	if got := string(b); strings.Count(got, "From alice@example.org  ") != 2 || strings.Count(got, "\n\n>From here\n\n") != 2 || !strings.Contains(got,
		"\nReturn-Path: <alice@example.org>\nX-Original-To: bob@example.com\nDelivered-To: bob@example.com\nSubject: x\n") {
		t.Errorf("got %q", got)
	}
	st, err := os.Stat(spool + "/bob")
	if err != nil || ownerOf(st) != nobody || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	r.aliases("", 0, nil, "home_mailbox=mbox")
	q := request(letter, "bob@example.com")
	q.Sender = ""
	says(t, r.do(q), "sent 2.0.0 delivered to mailbox")
	if b, _ := os.ReadFile(homes + "/bob/mbox"); !strings.HasPrefix(string(b), "From MAILER-DAEMON  ") {
		t.Errorf("got %q", b)
	}
	// A directory where only root may write is no place for a user's lock.
	os.Chmod(spool, 0o755)
	r.aliases("", 0, nil, "home_mailbox=", "mail_spool_directory="+spool)
	says(t, r.do(request(letter, "bob@example.com")), "deferred 4.2.0 cannot update mailbox "+spool+"/bob for user bob. unable to create lock file")

	// Unknown users go to luser_relay, mail for users to mailbox_command.
	r.aliases("", 0, nil, "home_mailbox=Maildir/", "luser_relay=$local-unknown@far.example")
	says(t, r.do(request(letter, "nosuch+x@example.com")), "sent 2.0.0 forwarded as ")
	all := r.cleanup.Messages()
	if got := members(all[len(all)-1].Envelope.Recipients); got != "nosuch+x-unknown@far.example" {
		t.Errorf("luser_relay: %s", got)
	}
	r.aliases("", 0, nil, "mailbox_command=id -u; exit 69", "mailbox_command_maps=inline:{ {root=id -u; exit 67} }", "default_privs=bob")
	says(t, r.do(request(letter, "eve@example.com")), fmt.Sprintf("bounced 5.3.0 service unavailable. Command output: %d", nobody))
	says(t, r.do(request(letter, "root@example.com")), fmt.Sprintf("bounced 5.1.1 user unknown. Command output: %d", nobody)) // never with root's rights
	write(t, homes+"/root/.forward", `"|id -u; exit 70"`+"\n", 0o600, 0)
	says(t, r.do(request(letter, "root@example.com")), fmt.Sprintf("bounced 5.3.0 internal software error. Command output: %d", nobody))
}
