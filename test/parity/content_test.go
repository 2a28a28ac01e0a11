package parity

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/sink"
	"postrider/test/source"
)

// TestContent sends messages with every kind of header and body by SMTP and compares what the
// next server is given, byte by byte, with what Debian's Postfix gave it: once a server that
// offers 8BITMIME, once one that does not. A file of testdata/content has a line of the
// message in each line, quoted, and then what Postfix made of it for each server.
func TestContent(t *testing.T) {
	files, err := filepath.Glob("testdata/content/*")
	if err != nil || len(files) == 0 {
		t.Fatal("no messages", err)
	}
	eight, seven := sink.New(t, nil), sink.New(t, nil)
	seven.Do(sink.Behaviour{Keywords: []string{"PIPELINING"}})
	set := []string{
		"relayhost = " + eight.NextHop(), "transport_maps = inline:{ {seven.test=smtp:" + seven.NextHop() + "} }",
		"mail_name = Mail", "local_header_rewrite_clients = permit_mynetworks", "alias_maps =", "alias_database =",
	}
	var addr string
	if *record {
		addr = debian(t, func(string) []string { return set }).Addr
	} else {
		i := instance.Started(t, set...)
		addr = i.Addr
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, want, _ := strings.Cut(string(b), divider)
			content := unquoted(t, text)
			got := ""
			for _, to := range []struct {
				server *sink.Sink
				domain string
			}{{eight, "eight.test"}, {seven, "seven.test"}} {
				give(t, addr, name+"@"+to.domain, content)
				got += "to " + to.domain + "\n" + quoted(withoutChance(arrived(t, to.server, name+"@"+to.domain)))
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

func give(t *testing.T, addr, to string, content []byte) {
	t.Helper()
	c, err := source.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, line := range []string{"EHLO client.test", "MAIL FROM:<a@b.test> BODY=8BITMIME", "RCPT TO:<" + to + ">"} {
		if _, err := c.Command("250", "%s", line); err != nil {
			t.Fatal(line, err)
		}
	}
	if _, err = c.Command("354", "DATA"); err == nil {
		c.Write(source.Stuff(content))
		_, err = c.Expect("250")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// arrived waits for the message for a recipient.
func arrived(t *testing.T, s *sink.Sink, to string) []byte {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for _, m := range s.Mails() {
			if m.Recipients[0] == to {
				return m.Content
			}
		}
	}
	t.Fatalf("nothing for %s", to)
	return nil
}

var chances = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`(\tby )\S+( \(Mail\) with ESMTP id )\w+`), "${1}HOST${2}ID"},
	{regexp.MustCompile(`(for <[^>]*>; )\w.*\)`), "${1}TIME"},
	{regexp.MustCompile(`(?m)^(Received: from client.test \()\S+`), "${1}CLIENT"},
	{regexp.MustCompile(`(?m)^((?:Resent-)?Message-Id: <)(?:\d{14}\.)?\w{12,16}@mx.instance.test>`), "${1}ID@HOST>"},
	{regexp.MustCompile(`(?m)^((?:Resent-)?Date: )\w+, +\d+ \w+ 20\d\d [\d:]+ [-+]\d+ \(\w+\)`), "${1}TIME"},
}

func withoutChance(b []byte) []byte {
	for _, c := range chances {
		b = c.pattern.ReplaceAll(b, []byte(c.by))
	}
	return b
}

func quoted(b []byte) string {
	var out strings.Builder
	for line := range bytes.Lines(b) {
		out.WriteString(strconv.QuoteToASCII(string(line)) + "\n")
	}
	return out.String()
}

func unquoted(t *testing.T, text string) (b []byte) {
	t.Helper()
	for line := range strings.Lines(text) {
		s, err := strconv.Unquote(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Fatal(line, err)
		}
		b = append(b, s...)
	}
	return b
}
