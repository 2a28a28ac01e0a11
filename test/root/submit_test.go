package root

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"postrider/test/instance"
	"postrider/test/sink"
	"postrider/test/source"
)

// A user without rights submits by the set-gid postdrop, while the system runs and while
// it is down; root's mail comes to him by an alias; his Maildir is his.
func TestSubmitAndLocal(t *testing.T) {
	t.Parallel()
	far := sink.New(t, nil)
	i := system(t, route("sink.test", far))
	i.Start()
	me := house.user
	submit(t, i, "Subject: out\n\nbody\n", "r@sink.test")
	i.Await("a delivery", func() bool { return len(far.Mails()) == 1 })
	if m := far.Mails()[0]; m.Sender != me.name+"@"+instance.Hostname {
		t.Errorf("sender %q", m.Sender)
	}
	i.AwaitLog(fmt.Sprintf(`postfix/(pickup|cleanup)\[\d+\]: \w+: uid=%d from=<%s>`, me.uid, me.name))

	send(t, i, source.New("loc-in", "a@source.test", 100<<10, me.name+"@"+instance.Domain))
	submit(t, i, "Subject: to root\n\nbody\n", "root")
	submit(t, i, "Subject: to postmaster\n\nbody\n", "postmaster")
	for _, text := range []string{"loc-in", "Subject: to root\n", "Subject: to postmaster\n"} {
		i.Await("mail in the Maildir", func() bool { return len(inbox(t, text)) == 1 })
	}
	if err := filepath.WalkDir(house.home+"/Maildir", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		if owner(st) != me.uid || group(st) != me.gid || st.Mode().Perm()&0077 != 0 {
			t.Errorf("%s: %v %d:%d", path, st.Mode(), owner(st), group(st))
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if _, err := source.Send1(i.Addr, source.New("loc-none", "a@source.test", 1000, "no-such-user@"+instance.Domain), nil); err != nil {
		t.Errorf("an unknown user without local_recipient_maps: %v", err)
	}
	i.AwaitLog(`postfix/local\[\d+\]: \w+: to=<no-such-user@.*dsn=5\.1\.1, status=bounced`)

	// What a user may ask, and what not.
	far.Refuse()
	held := send(t, i, source.New("loc-held", "a@source.test", 1000, "r@sink.test"))
	i.AwaitQueue(held, "deferred")
	for command, allowed := range map[string]bool{"postqueue -p": true, "postqueue -f": true, "sendmail -bp": true, "mailq": true,
		"postsuper -d " + held: false, "postsuper -h ALL": false, "postcat -q " + held: false, "master stop": false, "master reload": false} {
		f := strings.Fields(command)
		r := i.RunAs(me.credential(), "", f[0], f[1:]...)
		if (r.Code == 0) != allowed || !allowed && r.Stderr == "" || strings.Contains(command, "p") && allowed && strings.HasSuffix(command, "p") && !strings.Contains(r.Stdout, held) {
			t.Errorf("%s by a user: %+v", command, r)
		}
	}
	if i.Entry(held).Queue == "" || i.Exited() {
		t.Error("a user did what he may not")
	}
	i.Must("postsuper", "-d", held)

	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}
	submit(t, i, "Subject: while down\n\nbody\n", "root")
	waiting, _ := filepath.Glob(i.Queue + "/maildrop/*")
	if len(waiting) != 1 {
		t.Fatalf("maildrop: %q", waiting)
	}
	if st, err := os.Stat(waiting[0]); err != nil || owner(st) != me.uid || group(st) != house.postdrop {
		t.Errorf("%v %v", st, err)
	}
	// Nobody but postdrop gets there.
	for _, command := range []string{"cat " + waiting[0], "ls " + i.Queue + "/maildrop", "touch " + i.Queue + "/maildrop/x", "touch " + i.Queue + "/x", "rm -f " + waiting[0]} {
		f := strings.Fields(command)
		if r := runTool(me, f[0], f[1:]...); r == nil {
			t.Errorf("a user can %s", command)
		}
	}
	i.Start()
	i.Await("the mail from maildrop", func() bool { return len(inbox(t, "Subject: while down\n")) == 1 && len(i.Files("maildrop")) == 0 })
	i.Await("an empty queue", i.Drained)
	if n := len(inbox(t, "Subject: while down\n")); n != 1 {
		t.Errorf("delivered %d times", n)
	}
}

// Where there is no home_mailbox and mail_spool_directory ends with a slash, local makes
// the user's directory there: that takes one more capability, from a reload on.
func TestMailSpool(t *testing.T) {
	t.Parallel()
	i := system(t)
	i.Start()
	if err := os.Mkdir(i.Mail, 0755); err != nil {
		t.Fatal(err)
	}
	old := i.PID("local")
	i.Set("home_mailbox =", "mail_spool_directory = "+i.Mail+"/")
	i.Must("master", "reload")
	i.Await("another local", func() bool { p := i.PIDs("local"); return len(p) == 1 && p[0] != old })
	if got := status(t, fmt.Sprint(i.PID("local")))["CapBnd"]; got != "00000000000000e1" { // and CAP_CHOWN
		t.Errorf("CapBnd %s", got)
	}
	send(t, i, source.New("spool-1", "a@source.test", 4000, house.user.name+"@"+instance.Domain))
	i.Await("mail", func() bool { return len(i.Maildir(house.user.name)) == 1 })
	st, err := os.Stat(filepath.Join(i.Mail, house.user.name))
	if err != nil || owner(st) != house.user.uid || group(st) != house.user.gid || st.Mode().Perm() != 0700 {
		t.Errorf("%v %v", st, err)
	}
}

// Debian's stock master.cf serves as it is, but for the port.
func TestStockMasterCF(t *testing.T) {
	t.Parallel()
	const stock = "/usr/share/postfix/master.cf.dist"
	text, err := os.ReadFile(stock)
	if err != nil {
		t.Skip("needs Debian's postfix package: ", err)
	}
	far := sink.New(t, nil)
	i := system(t, route("sink.test", far))
	smtp := regexp.MustCompile(`(?m)^smtp +inet `)
	if !smtp.Match(text) {
		t.Fatalf("no inet line of smtp in %s", stock)
	}
	i.WriteFile("conf/master.cf", smtp.ReplaceAllString(string(text), "2525 inet "))
	if r := i.Run("master", "check"); r.Code != 0 || strings.Contains(r.Stderr, "fatal") {
		t.Errorf("check: %+v", r)
	}
	i.Start()
	daemons(t, i)
	send(t, i, source.New("stock-out", "a@source.test", 4000, "r@sink.test"))
	send(t, i, source.New("stock-in", "a@source.test", 4000, house.user.name+"@"+instance.Domain))
	submit(t, i, "Subject: stock\n\nbody\n", "r@sink.test")
	i.Await("two deliveries out", func() bool { return len(far.Mails()) == 2 })
	i.Await("one delivery in", func() bool { return len(inbox(t, "stock-in")) == 1 })
	i.Await("an empty queue", i.Drained)
	if bad := i.Grep(`(error|fatal|panic):`); bad != nil {
		t.Errorf("%q", bad)
	}
}

// runTool runs a command of the machine as a user.
func runTool(who account, name string, args ...string) error {
	cmd := command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who.credential()}
	return cmd.Run()
}
