package parity

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/sink"
	"postrider/test/source"
)

// TestNotices has mail fail, arrive and expand, and compares the reports that go back with
// those of Debian's Postfix: the same parts, the same fields in the same order, the same words.
// A file of testdata/notices has the envelope, an empty line, the message, and then the reports.
func TestNotices(t *testing.T) {
	files, err := filepath.Glob("testdata/notices/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no notices", err)
	}
	next, plain := far(t), far(t)
	plain.Do(sink.Behaviour{Keywords: []string{"PIPELINING", "8BITMIME"}, Rcpt: func(_, r string) string {
		if strings.HasPrefix(r, "no") {
			return "550 5.1.1 <" + r + ">: no such user"
		}
		return ""
	}})
	set := []string{
		"relayhost = " + next.NextHop(), "myhostname = mx.instance.test", "mail_name = Postfix", "mydestination = local.test",
		"transport_maps = inline:{ {plain.test=smtp:" + plain.NextHop() + "} {error.test=error:5.1.1 no such place} }",
		"alias_maps = inline:{ {fails=no@plain.test} {list=nobody,two@plain.test} }", "alias_database =", "local_recipient_maps =", "home_mailbox =",
		"virtual_alias_maps = inline:{ {both@local.test=nobody@local.test,two@plain.test} {moved@local.test=no@plain.test} }",
		"notify_classes = 2bounce", "bounce_size_limit = 20000", "local_header_rewrite_clients = permit_mynetworks",
	}
	boxes := func(dir string) []string {
		mail := dir + "/mail"
		if err := os.MkdirAll(mail, 0o777); err != nil {
			t.Fatal(err)
		}
		os.Chmod(mail, 0o777|os.ModeSticky)
		return append(set, "mail_spool_directory = "+mail+"/")
	}
	var addr string
	if *record {
		addr = debian(t, boxes).Addr
	} else {
		i := instance.AsRoot(t, instance.Programs(t))
		i.Set(boxes(i.Dir)...)
		i.Start()
		addr = i.Addr
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, want, _ := strings.Cut(string(b), divider)
			envelope, message, _ := strings.Cut(text, "\n\n")
			say(t, addr, strings.Split(envelope, "\n"), strings.ReplaceAll("Subject: "+name+"\n"+repeated(message), "\n", "\r\n"))
			var got string
			for _, m := range reports(t, name, next) {
				got += "from <" + m.Sender + "> to <" + m.Recipients[0] + ">\n" + quoted(plainNotice(m.Content))
			}
			if *record {
				if err := os.WriteFile(file, []byte(text+divider+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("not as Postfix:\n%s", difference(want, got))
			}
		})
	}
}

// repeated makes "line * N" N lines.
var times = regexp.MustCompile(`(?m)^(.*) \* (\d+)$`)

func repeated(text string) string {
	return times.ReplaceAllStringFunc(text, func(s string) string {
		m := times.FindStringSubmatch(s)
		n := 0
		for _, c := range m[2] {
			n = 10*n + int(c-'0')
		}
		return strings.TrimSuffix(strings.Repeat(m[1]+"\n", n), "\n")
	})
}

// say gives a message to the server; a refused recipient fails the test.
func say(t *testing.T, addr string, envelope []string, content string) {
	t.Helper()
	c, err := source.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, line := range append([]string{"EHLO client.test"}, envelope...) {
		if _, err := c.Command("250", "%s", line); err != nil {
			t.Fatal(line, err)
		}
	}
	if _, err = c.Command("354", "DATA"); err == nil {
		c.Write(source.Stuff([]byte(content)))
		_, err = c.Expect("250")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// reports waits for what comes back about a message, and a moment for one more.
func reports(t *testing.T, name string, s *sink.Sink) (found []*sink.Mail) {
	t.Helper()
	about := []byte("Subject: " + name + "\r\n")
	deadline, quiet := time.Now().Add(time.Minute), time.Time{}
	for ; ; time.Sleep(10 * time.Millisecond) {
		found = found[:0]
		for _, m := range s.Mails() {
			if (m.Sender == "" || strings.HasPrefix(m.Sender, "double-bounce@")) && bytes.Contains(m.Content, about) {
				found = append(found, m)
			}
		}
		switch {
		case len(found) > 0 && quiet.IsZero():
			quiet = time.Now().Add(300 * time.Millisecond)
		case len(found) > 0 && time.Now().After(quiet):
			return found
		case time.Now().After(deadline):
			t.Fatal("nothing comes back")
		}
	}
}

var inNotices = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`\b\w+\.\d{10}/mx\.instance\.test`), "BOUNDARY"},
	{regexp.MustCompile(`(?m)^((?:Arrival-|Resent-)?Date: ).*?(\r?)$`), "${1}TIME$2"},
	{regexp.MustCompile(`(?m)^(X-Postfix-Queue-ID: |\tid |.* id )\w+`), "${1}ID"},
	{regexp.MustCompile(`(?m)^(Message-Id: <)\S+@`), "${1}ID@"},
	{regexp.MustCompile(`; \w+, +\d+ \w+ 20\d\d .*?(\r?\n)`), "; TIME$1"},
	{regexp.MustCompile(`\[127\.0\.0\.1\]:\d+`), "[127.0.0.1]:PORT"},
	{regexp.MustCompile(`(?m)^(Received: from client.test \()\S+`), "${1}CLIENT"},
	{regexp.MustCompile(`(<ok@plain.test>: delivery via 127\.0\.0\.1)(?:\[127\.0\.0\.1\]:PORT)?: 250 2\.0\.0 Ok: queued\s+as SINK`), "$1: 250"}, // Postfix has the address, too
	{regexp.MustCompile(`Content-Transfer-Encoding: 8bit\r\n`), ""},                                                                             // doc/differences.md
	{regexp.MustCompile(`(Description: Notification\r\nContent-Type: text/plain; charset=)(?:utf-8|us-ascii)`), "${1}X"},
	{regexp.MustCompile(`(?m)^(\t)\w+, +\d+ \w+ 20\d\d .*?(\r?)$`), "${1}TIME$2"},
	{regexp.MustCompile(`(?m)^(\s*for <[^>]*>; ).*?(\r?)$`), "${1}TIME$2"},
}

func plainNotice(b []byte) []byte {
	for _, c := range inNotices {
		b = c.pattern.ReplaceAll(b, []byte(c.by))
	}
	return b
}
