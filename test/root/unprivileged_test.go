package root

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"postrider/lib/sysexits"
	"postrider/test/instance"
	"postrider/test/sink"
)

// Who can gain no group by executing postdrop (no_new_privs: systemd's NoNewPrivileges,
// containers) submits too, through the socket at which the kernel says who he is, and with
// the same limits. While the system is down he is told so.
func TestUnprivilegedSubmits(t *testing.T) {
	t.Parallel()
	far := sink.New(t, nil)
	i := system(t, route("sink.test", far), "message_size_limit = 300000")
	i.Start()
	me := house.user
	run := func(text string, args ...string) instance.Result {
		t.Helper()
		cmd := asUser(me, "unprivileged", append([]string{house.bin + "/sendmail", "-C", i.Conf}, args...)...)
		var out, errs bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), &out, &errs
		if err := cmd.Run(); err != nil {
			if _, ok := err.(*exec.ExitError); !ok {
				t.Fatal(err)
			}
		}
		return instance.Result{Code: cmd.ProcessState.ExitCode(), Stdout: out.String(), Stderr: errs.String()}
	}
	for n, size := range []int{10, 250000} { // in the journal, and in a file of its own
		body := strings.Repeat("a line of text\n", size/15+1)
		if r := run(fmt.Sprintf("Subject: %d\n\n%s", size, body), "-f", "me@source.test", "r@sink.test"); r.Code != 0 {
			t.Fatalf("%d bytes: %+v", size, r)
		}
		i.Await("a delivery", func() bool { return len(far.Mails()) == n+1 })
		m := far.Mails()[n]
		if m.Sender != "me@source.test" || !bytes.HasSuffix(m.Content, []byte("\r\n\r\n"+strings.ReplaceAll(body, "\n", "\r\n"))) ||
			!bytes.Contains(m.Content, fmt.Appendf(nil, "from userid %d)", me.uid)) {
			t.Errorf("%d bytes: %q from %s", size, m.Content[:min(400, len(m.Content))], m.Sender)
		}
	}
	i.AwaitLog(fmt.Sprintf(`postfix/pickup\[\d+\]: \w+: uid=%d from=<me@source.test>`, me.uid))
	if r := run("Subject: x\n\n"+strings.Repeat("a line of text\n", 30000), "r@sink.test"); r.Code != sysexits.Unavailable || !strings.Contains(r.Stderr, "too big") {
		t.Errorf("over the limit: %+v", r)
	}

	i.Set("authorized_submit_users = !" + me.name + ", static:all")
	i.Must("master", "reload")
	i.Await("the new list", func() bool { return run("Subject: refused\n\n", "r@sink.test").Code == sysexits.NoPerm })

	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}
	i.Set("authorized_submit_users = static:all")
	if r := run("Subject: down\n\n", "r@sink.test"); r.Code != sysexits.TempFail || !strings.Contains(r.Stderr, "is the mail system running?") {
		t.Errorf("while down: %+v", r)
	}
	if files := i.Files("maildrop"); len(files) > 0 {
		t.Errorf("left: %v", files)
	}
	for _, m := range far.Mails() {
		if bytes.Contains(m.Content, []byte("Subject: refused")) {
			t.Error("mail of who may not submit")
		}
	}
}
