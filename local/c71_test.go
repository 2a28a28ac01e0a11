package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/agent"
	"postrider/lib/mail"
	"postrider/lib/table/tabletest"
)

// home writes files into a user's home, his own.
func write(t *testing.T, path, text string, mode os.FileMode, uid int) string {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode), os.Chown(path, uid, uid)); err != nil {
		t.Fatal(err)
	}
	return path
}

// aliases gives the rig another alias table, whose file belongs to uid.
func (r *rig) aliases(text string, uid uint32, f files, settings ...string) {
	r.t.Helper()
	all := files{"/etc/aliases": text}
	for k, v := range r.files {
		if k != "/etc/aliases" {
			all[k] = v
		}
	}
	s, err := newSite(r.config(settings...), tabletest.Files(all).Open, func(string) uint32 { return uid }, r.site.Load().root)
	if err != nil {
		r.t.Fatal(err)
	}
	r.site.Store(s)
}

func members(m []mail.Recipient) string {
	var list []string
	for _, x := range m {
		s := string(x.Address)
		switch {
		case x.Member == mail.MemberMailbox:
			s += "(mailbox)"
		case x.Member != 0:
			s += "(member)"
		}
		list = append(list, s)
	}
	return strings.Join(list, " ")
}

// back gives what was sent on to local again, each recipient by itself, and says what
// became of it.
func (r *rig) back(n int) string {
	r.t.Helper()
	all := r.cleanup.Messages()
	m := all[len(all)-1]
	q := &agent.Request{Deliver: request(letter).Deliver, Content: agent.NewInline(m.Content, agent.Checksum(m.Content))}
	q.Origin, q.Sender = mail.FromLocal, m.Envelope.Sender
	q.Recipients = append(q.Recipients, request(letter, "x").Recipients[0])
	q.Recipients[0].Recipient = m.Envelope.Recipients[n]
	st := r.do(q).Status
	return fmt.Sprint(st.Class, " ", st.DSN, " ", st.Text)
}

// C71 (reliability.md): what a .forward may say.
func TestC71Forward(t *testing.T) {
	r, homes := asRoot(t, "propagate_unmatched_extensions=canonical, virtual")
	home := filepath.Join(homes, "bob")
	mailbox := func() int { return len(read(t, filepath.Join(home, "Maildir"))) }
	forward := filepath.Join(home, ".forward")
	out := filepath.Join(home, "out")

	// To somebody else, to a list with himself, with the mailbox kept.
	write(t, forward, "far@far.example\n", 0o600, nobody)
	if rr := r.do(request(letter, "bob@example.com")); !rr.Replaced || members(r.cleanup.Messages()[0].Envelope.Recipients) != "far@far.example" {
		t.Errorf("%+v", rr)
	}
	for _, text := range []string{`\bob, far@far.example` + "\n", "bob, far@far.example\n"} {
		write(t, forward, text, 0o600, nobody)
		r.do(request(letter, "bob@example.com"))
		all := r.cleanup.Messages()
		if got := members(all[len(all)-1].Envelope.Recipients); got != "bob@example.com(mailbox) far@far.example" {
			t.Errorf("%q: %s", text, got)
		}
		n := mailbox()
		if got := r.back(0); got != "sent 2.0.0 delivered to maildir" || mailbox() != n+1 {
			t.Errorf("his own copy: %s", got)
		}
	}
	// A self reference, alone, and a file with nothing in it, are the mailbox.
	for _, text := range []string{"bob\n", `\bob` + "\n", "# nothing\n\n", ""} {
		n := mailbox()
		write(t, forward, text, 0o600, nobody)
		says(t, r.do(request(letter, "bob@example.com")), "sent 2.0.0 delivered to maildir")
		if mailbox() != n+1 {
			t.Errorf("%q: not in the mailbox", text)
		}
	}
	// A command and a file have the user's rights and know whose mail it is.
	write(t, forward, `"|cat >`+out+`; id -u >>`+out+`; echo $USER $HOME $LOCAL $EXTENSION $DOMAIN $RECIPIENT $SENDER >>`+out+`"`+"\n", 0o600, nobody)
	says(t, r.do(request(letter, "bob+x@example.com")), "sent 2.0.0 delivered to command: cat >")
	got, _ := os.ReadFile(out)
	want := fmt.Sprintf("\nlast\n%d\nbob %s bob+x x example.com bob+x@example.com alice@example.org\n", nobody, home)
	if !strings.HasPrefix(string(got), "From alice@example.org  ") || !strings.Contains(string(got), "Delivered-To: bob+x@example.com\n") || !strings.HasSuffix(string(got), want) {
		t.Errorf("the command got %q, want %q", got, want)
	}
	os.Remove(out)
	write(t, forward, out+"\n", 0o600, nobody)
	for range 2 {
		says(t, r.do(request(letter, "bob@example.com")), "sent 2.0.0 delivered to file: "+out)
	}
	if got, _ := os.ReadFile(out); strings.Count(string(got), "\nFrom alice@example.org  ") != 1 {
		t.Errorf("the file has %q", got)
	}
	// .forward+ext goes before .forward.
	write(t, forward+"+lists", "lists@far.example\n", 0o600, nobody)
	r.do(request(letter, "bob+lists@example.com"))
	all := r.cleanup.Messages()
	if got := members(all[len(all)-1].Envelope.Recipients); got != "lists@far.example" {
		t.Errorf(".forward+lists: %s", got)
	}
	// A command among others is a recipient of its own, found again by his .forward.
	write(t, forward, `"|cat >`+out+`", far@far.example`+"\n", 0o600, nobody)
	if rr := r.do(request(letter, "bob@example.com")); !rr.Replaced {
		t.Errorf("%+v", rr)
	}
	all = r.cleanup.Messages()
	if got := members(all[len(all)-1].Envelope.Recipients); got != "bob@example.com(member) far@far.example" {
		t.Errorf("a command among others: %s", got)
	}
	os.Remove(out)
	if got := r.back(0); !strings.HasPrefix(got, "sent 2.0.0 delivered to command: cat >") {
		t.Errorf("its turn: %s", got)
	}
	if got, _ := os.ReadFile(out); !strings.Contains(string(got), "first line") {
		t.Errorf("it got %q", got)
	}
	write(t, forward, "elsewhere@far.example, bob\n", 0o600, nobody)
	if got := r.back(0); !strings.HasPrefix(got, "bounced 5.1.1 the alias or .forward of bob names") {
		t.Errorf("when it is named no longer: %s", got)
	}
	// A loop over two users ends by Delivered-To.
	write(t, forward, "far@far.example\n", 0o600, nobody)
	says(t, r.do(request("Delivered-To: bob@example.com\r\n"+letter, "bob@example.com")), "bounced 5.4.6 mail forwarding loop for bob@example.com")
}

// C71: what others may have written, and what cannot be read, is never obeyed; the mail
// goes to the mailbox or waits, and never bounces.
func TestC71HostileForward(t *testing.T) {
	r, homes := asRoot(t)
	home := filepath.Join(homes, "bob")
	forward := filepath.Join(home, ".forward")
	ran := filepath.Join(homes, "ran")
	evil := `"|touch ` + ran + `"` + "\n"
	os.Chmod(homes, 0o777)
	defer os.Chmod(homes, 0o755)
	for name, prepare := range map[string]func(){
		"world-writable file":     func() { write(t, forward, evil, 0o602, nobody) },
		"group-writable file":     func() { write(t, forward, evil, 0o620, nobody) },
		"another's file":          func() { write(t, forward, evil, 0o644, 12345) },
		"symbolic link":           func() { write(t, home+"/x", evil, 0o600, nobody); os.Symlink("x", forward) },
		"link to /etc/shadow":     func() { os.Symlink("/etc/shadow", forward) },
		"FIFO":                    func() { unix.Mkfifo(forward, 0o600); os.Chown(forward, nobody, nobody) },
		"directory":               func() { os.Mkdir(forward, 0o700); os.Chown(forward, nobody, nobody) },
		"world-writable home":     func() { write(t, forward, evil, 0o600, nobody); os.Chmod(home, 0o777) },
		"home group may write":    func() { write(t, forward, evil, 0o600, nobody); os.Chmod(home, 0o770) },
		"home that is somebody's": func() { write(t, forward, evil, 0o600, nobody); os.Chown(home, 12345, 12345); os.Chmod(home, 0o755) },
		"no read permission":      func() { write(t, forward, evil, 0o000, nobody) },
		"root's, for root only":   func() { write(t, forward, evil, 0o600, 0) },
		"unreadable as a list":    func() { write(t, forward, `"|open quote`+"\n", 0o600, nobody) },
		"include of /dev/zero":    func() { write(t, forward, ":include:/dev/zero\n", 0o600, nobody) },
		"include of a FIFO": func() {
			unix.Mkfifo(home+"/f", 0o600)
			os.Chown(home+"/f", nobody, nobody)
			write(t, forward, ":include:"+home+"/f\n", 0o600, nobody)
		},
		"include of /etc/shadow": func() { write(t, forward, ":include:/etc/shadow\n", 0o600, nobody) },
		"executable file":        func() { write(t, home+"/prog", "", 0o700, nobody); write(t, forward, home+"/prog\n", 0o600, nobody) },
		"/dev/tty":               func() { write(t, forward, "/dev/tty\n", 0o600, nobody) },
		"/dev/zero":              func() { write(t, forward, "/dev/zero\n", 0o600, nobody) },
		"file that is a link":    func() { os.Symlink("/etc/motd", home+"/l"); write(t, forward, home+"/l\n", 0o600, nobody) },
		"file with two names": func() {
			write(t, home+"/a", "", 0o600, nobody)
			os.Link(home+"/a", home+"/b")
			write(t, forward, home+"/a\n", 0o600, nobody)
		},
		"a file that is not his": func() { write(t, forward, "/etc/passwd\n", 0o600, nobody) },
		"command of an include": func() {
			write(t, home+"/list", evil, 0o600, nobody)
			write(t, forward, ":include:"+home+"/list\n", 0o600, nobody)
		},
		"control character inside": func() { write(t, forward, "a\x00b@far.example\n", 0o600, nobody) },
	} {
		os.RemoveAll(home)
		if err := errors.Join(os.Mkdir(home, 0o700), os.Chown(home, nobody, nobody)); err != nil {
			t.Fatal(err)
		}
		prepare()
		rr := r.do(request(letter, "bob@example.com"))
		st := rr.Status
		switch name {
		case "executable file", "/dev/tty", "/dev/zero", "file that is a link", "file with two names":
			if st.Class != mail.Bounced || st.DSN != "5.2.0" {
				t.Errorf("%s: %+v", name, st)
			}
		case "command of an include":
			if st.Class != mail.Bounced || st.DSN != "5.7.1" || st.Text != "mail to command is restricted" {
				t.Errorf("%s: %+v", name, st)
			}
		default:
			if st.Class == mail.Bounced || rr.Replaced || strings.HasPrefix(st.Text, "delivered to command") || strings.HasPrefix(st.Text, "delivered to file") {
				t.Errorf("%s: %+v", name, st)
			}
		}
		if _, err := os.Stat(ran); err == nil {
			t.Errorf("%s: its command ran", name)
			os.Remove(ran)
		}
	}
}

// C71: aliases to commands, files and lists, with the rights of whose file names them.
func TestC71Aliases(t *testing.T) {
	r, _ := asRoot(t)
	dir := t.TempDir()
	for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	open := filepath.Join(dir, "open")
	if err := errors.Join(os.Mkdir(open, 0o777), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/list", "a@far.example\n# comment\nb@far.example\nA@FAR.example\n:include:"+dir+"/more\n", 0o644, 0)
	write(t, dir+"/more", "c@far.example\n", 0o644, 0)
	write(t, dir+"/self", ":include:"+dir+"/self, d@far.example\n", 0o644, 0)
	write(t, dir+"/secret", "e@far.example\n", 0o600, 0)
	write(t, dir+"/world", "e@far.example\n", 0o666, 0)
	chain := ""
	for i := range 1000 {
		write(t, fmt.Sprintf("%s/chain%d", dir, i), fmt.Sprintf(":include:%s/chain%d\n", dir, i+1), 0o644, 0)
	}
	many := strings.Builder{}
	for i := range 10000 {
		fmt.Fprintf(&many, "m%d@far.example\n", i)
	}
	write(t, dir+"/many", many.String(), 0o644, 0)
	text := fmt.Sprintf(`cmd: "|id -u >%[1]s/open/cmd"
file: %[1]s/open/file
dir: %[1]s/open/maildir/
both: "|cat >%[1]s/open/both", %[1]s/open/both2, one@far.example, bob
list: :include:%[1]s/list
owner-list: keeper
self: :include:%[1]s/self
secret: :include:%[1]s/secret
world: :include:%[1]s/world
chain: :include:%[1]s/chain0
many: :include:%[1]s/many
a: b
b: a
`, dir) + chain
	r.aliases(text, 0, nil, "default_privs=bob")
	for _, c := range []struct{ to, want string }{
		{"cmd", "sent 2.0.0 delivered to command: id -u >"},
		{"file", "sent 2.0.0 delivered to file: " + open + "/file"},
		{"dir", "sent 2.0.0 delivered to maildir"},
		{"both", "sent 2.0.0 forwarded as "},
		{"list", "sent 2.0.0 forwarded as "},
		{"self", "bounced 5.4.6 mailing list loop for "},
		{"chain", "bounced 5.4.6 mailing list loop for "},
		{"secret", "deferred 4.2.4 cannot open include file " + dir + "/secret: permission denied"},
		{"world", "deferred 4.2.4 cannot open include file " + dir + "/world: it is world writable"},
		{"a", "bounced 5.4.6 alias database loop for a"},
	} {
		says(t, r.do(request(letter, c.to+"@example.com")), c.want)
	}
	if got, _ := os.ReadFile(open + "/cmd"); string(got) != fmt.Sprintln(nobody) {
		t.Errorf("root's alias ran as %q", got)
	}
	all := r.cleanup.Messages()
	if got := members(all[0].Envelope.Recipients); got != "both@example.com(member) both@example.com(member) one@far.example bob@example.com" {
		t.Errorf("both: %s", got)
	}
	if e := all[1].Envelope; members(e.Recipients) != "a@far.example b@far.example A@FAR.example c@far.example" || e.Sender != "owner-list@example.com" {
		t.Errorf("list: %s from %s", members(e.Recipients), e.Sender)
	}
	// 10,000 members are one message with as many recipients.
	n := len(all)
	says(t, r.do(request(letter, "many@example.com")), "sent 2.0.0 forwarded as ")
	if all = r.cleanup.Messages(); len(all) != n+1 || len(all[n].Envelope.Recipients) != 10000 {
		t.Errorf("%d messages more", len(all)-n)
	}

	// Of another's alias file the commands are his, and mail may be restricted.
	r.aliases(text, nobody, nil, "default_privs=root")
	says(t, r.do(request(letter, "cmd@example.com")), "sent 2.0.0 delivered to command")
	r.aliases(text, 0, nil, "default_privs=root")
	says(t, r.do(request(letter, "cmd@example.com")), "deferred 4.3.5 default_privs names no user but root")
	r.aliases(text, 4242, nil, "default_privs=bob")
	says(t, r.do(request(letter, "cmd@example.com")), "deferred 4.3.0 cannot find the user with uid 4242")
	r.aliases(text, 0, nil, "default_privs=bob", "allow_mail_to_commands=forward", "allow_mail_to_files=")
	says(t, r.do(request(letter, "cmd@example.com")), "bounced 5.7.1 mail to command is restricted")
	says(t, r.do(request(letter, "file@example.com")), "bounced 5.7.1 mail to file is restricted")
}

// C72: what a command does is what becomes of the mail, and it is over when its time is.
func TestC72Commands(t *testing.T) {
	began := time.Now()
	big := strings.Repeat("x", 3<<20)
	for _, c := range []struct{ command, want string }{
		{"exit 0", "sent 2.0.0 delivered to command: exit 0"},
		{"true </dev/null", "sent 2.0.0 delivered to command"}, // reads nothing of three megabytes
		{"exec 0<&-; exit 0", "sent 2.0.0"},
		{"head -c 1000000000 /dev/zero", "sent 2.0.0"},
		{"cat >/dev/null; yes | head -c 1000000; exit 67", "bounced 5.1.1 user unknown. Command output: y y y"},
		{"echo hello; exit 75", "deferred 4.3.0 temporary failure. Command output: hello"},
		{"exit 71", "deferred 4.3.0 system resource problem"},
		{"exit 69", "bounced 5.3.0 service unavailable"},
		{"exit 77", "bounced 5.7.0 permission denied"},
		{"exit 1", `bounced 5.3.0 Command died with status 1: "exit 1"`},
		{"echo 4.7.9 later please; exit 1", "deferred 4.7.9 later please"},
		{"echo 5.7.8 never; exit 75", "bounced 5.7.8 never"},
		{"kill -9 $$", `bounced 5.3.0 Command died with signal 9: "kill -9 $$"`},
		{"kill -15 $$", "bounced 5.3.0 Command died with signal 15"},
		{"echo slow; sleep 1000", `bounced 5.3.0 Command time limit exceeded: "echo slow; sleep 1000". Command output: slow`},
		{"(trap '' TERM HUP; sleep 999) & sleep 998", "bounced 5.3.0 Command time limit exceeded"},
		{"sleep 7 & exit 0", "sent 2.0.0"}, // its child holds the pipe
		{"/no/such/program", `bounced 5.3.0 cannot execute "/no/such/program": no such file or directory`},
	} {
		limit := "command_time_limit=60s"
		if strings.Contains(c.want, "time limit") {
			limit = "command_time_limit=1s"
		}
		r := newRig(t, false, files{"/etc/aliases": ""}, limit, "mailbox_command="+strings.ReplaceAll(c.command, "$", "$$"))
		says(t, r.do(request(letter+big, "bob@example.com")), c.want)
	}
	if d := time.Since(began); d > 60*time.Second {
		t.Errorf("took %v", d)
	}
	for n := range 256 { // every code is the one or the other, never lost
		st := (&command{Text: "x"}).outcome(exited(t, n), nil, false, "")
		if (st.Class == mail.Sent) != (n == 0) || st.DSN == "" || st.Text == "" {
			t.Errorf("exit %d: %+v", n, st)
		}
	}
}

// C72: the arguments of a command do not change in number, whatever the message says.
func TestC72Arguments(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	r := newRig(t, false, files{"/etc/aliases": ""}, `mailbox_command=printf "[%s]" "$$0" "$SENDER" "$sender" "$extension" "${client_address}" "$user" >`+out)
	r.aliases("", 0, nil, `mailbox_command=printf "[%s]" "$sender" "$extension" "${client_address}" "$user" >`+out)
	q := request(letter, "bob+a;b`c`@example.com")
	q.Sender = "\"; touch /tmp/owned; $(x)\"@example.org"
	says(t, r.do(q), "sent 2.0.0 delivered to command")
	got, _ := os.ReadFile(out)
	if want := `[__ touch /tmp/owned_ __x__@example.org][a_b_c_][][bob]`; string(got) != strings.ReplaceAll(want, " ", "_") {
		t.Errorf("got %s", got)
	}
}

// exited is the end of a process with a code.
func exited(t *testing.T, code int) *os.ProcessState {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprint("exit ", code))
	cmd.Run()
	return cmd.ProcessState
}
