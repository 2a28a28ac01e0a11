package root

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"postrider/lib/mail"
	"postrider/lib/maildrop"
	"postrider/test/sink"
)

// C70: fifty shells submit at once, each several times. Every message arrives once.
func TestC70Shells(t *testing.T) {
	t.Parallel()
	far := sink.New(t, nil)
	i := system(t, route("sink.test", far))
	i.Start()
	const shells, each = 50, 4
	type end struct {
		out []byte
		err error
	}
	ends := make(chan end)
	for n := range shells {
		go func() {
			cmd := exec.Command("sh", "-c", fmt.Sprintf(`for n in 1 2 3 %d; do printf 'Subject: shell %d.%%d.\n\nbody\n' $n | "$0" -f a@b r@sink.test || exit; done`, each, n), house.bin+"/sendmail")
			cmd.Env = []string{"MAIL_CONFIG=" + i.Conf, "PATH=/usr/bin:/bin"}
			cmd.Dir = "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: house.user.credential()}
			out, err := cmd.CombinedOutput()
			ends <- end{out, err}
		}()
	}
	for range shells {
		if e := <-ends; e.err != nil || len(e.out) > 0 {
			t.Errorf("%v %s", e.err, e.out)
		}
	}
	i.Await("an empty queue", i.Drained)
	got := map[string]int{}
	for _, m := range far.Mails() {
		_, subject, _ := bytes.Cut(m.Content, []byte("Subject: "))
		subject, _, _ = bytes.Cut(subject, []byte("\r\n"))
		got[string(subject)]++
	}
	for n := range shells {
		for k := 1; k <= each; k++ {
			if s := fmt.Sprintf("shell %d.%d.", n, k); got[s] != 1 {
				t.Errorf("%s: %d times", s, got[s])
			}
		}
	}
}

// C70: ten thousand recipients by -t, half of them hidden: one message to all of them, in
// which the hidden ones do not stand.
func TestC70ManyRecipients(t *testing.T) {
	t.Parallel()
	i := down(t)
	const n = 10_000
	var b strings.Builder
	b.WriteString("Subject: many\nTo: ")
	for k := range n / 2 {
		fmt.Fprintf(&b, "user%d@sink.test,\n ", k)
	}
	b.WriteString("\"last one\" <last@sink.test>\nBcc: ")
	for k := range n / 2 {
		fmt.Fprintf(&b, "hidden%d@sink.test,\n\t", k)
	}
	b.WriteString("\n\nbody\n")
	if r := i.RunAs(house.user.credential(), b.String(), "sendmail", "-t", "-i"); r.Code != 0 || r.Stderr != "" {
		t.Fatalf("%+v", r)
	}
	files := i.Files("maildrop")
	if len(files) != 1 {
		t.Fatalf("%d files", len(files))
	}
	for name := range files {
		text, err := os.ReadFile(i.Queue + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		r := maildrop.NewReader(bytes.NewReader(text))
		s, err := r.Submission()
		if err != nil {
			t.Fatal(err)
		}
		want := map[mail.Address]bool{"last@sink.test": true}
		for k := range n / 2 {
			want[mail.Address(fmt.Sprintf("user%d@sink.test", k))], want[mail.Address(fmt.Sprintf("hidden%d@sink.test", k))] = true, true
		}
		for _, a := range s.Recipients {
			if !want[a] {
				t.Errorf("not asked for, or twice: %s", a)
			}
			delete(want, a)
		}
		if len(want) > 0 {
			t.Errorf("%d are missing", len(want))
		}
		for {
			p, err := r.Next()
			if bytes.Contains(p, []byte("hidden")) {
				t.Error("a hidden recipient stands in the message")
			}
			if err != nil {
				break
			}
		}
	}
}
