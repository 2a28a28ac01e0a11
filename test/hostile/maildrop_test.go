package hostile

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"postrider/test/sink"
)

// names is how many files that are no mail an attacker puts into maildrop/.
func names() int {
	if _, _, judge := effort(); judge {
		return 100000
	}
	return 5000
}

// C68 (reliability.md): mail of honest users is picked up from among thousands of files that are none; each of
// those stays as it is, and the log names each once, and not more than it can bear.
func TestMaildrop(t *testing.T) {
	t.Parallel()
	far := sink.New(t, nil)
	i := system(t, far)
	a := start(t, i, credential(t, bad, "postdrop"), "maildrop")
	const mails = 20
	for n := range mails {
		r := i.RunAs(credential(t, good, "postdrop"), fmt.Sprintf("Subject: %d\n\nbody\n", n), "sendmail", "r@sink.test")
		if r.Code != 0 || r.Stderr != "" {
			t.Fatalf("%+v", r)
		}
	}
	i.Await("the mail", func() bool { return len(far.Mails()) >= mails })
	first := i.Grep("maildrop/.*left alone")
	i.Await("another look", func() bool { // each wish makes one, and a mail shows that it has come to its end
		n := len(far.Mails())
		i.RunAs(credential(t, good, "postdrop"), "Subject: more\n\nbody\n", "sendmail", "r@sink.test")
		i.Await("one more", func() bool { return len(far.Mails()) > n })
		return n > mails+2
	})
	t.Log(a.stop())
	if len(first) == 0 || len(first) > 100 {
		t.Errorf("%d lines about files left alone", len(first))
	}
	said := map[string]bool{}
	for _, l := range i.Grep("maildrop/.*left alone") {
		_, name, _ := strings.Cut(l, "maildrop/")
		if name, _, _ = strings.Cut(name, ": left"); said[name] {
			t.Errorf("named twice: %s", l)
		}
		said[name] = true
	}
	for _, kind := range []string{"FIFO", "SYMLINK", "TOFIFO", "ZERO", "DIR", "HARD", "HARDER", "SPARSE", "FLAT", "SHUT", "bad name "} {
		if _, err := os.Lstat(i.Queue + "/maildrop/" + kind + "7"); err != nil {
			t.Error(err)
		}
	}
	if n := len(far.Mails()); n < mails || len(i.Grep(`pickup\[\d+\]: \w+: uid=`)) != n {
		t.Errorf("%d mails", n)
	}
	sweep(t, i)
}
