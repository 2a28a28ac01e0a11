package smtpd

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"postrider/lib/submit/submittest"
)

// The dialogues in testdata/*.txt are lines of:
//
//	# comment
//	cf: name = value    a line of main.cf, before anything is sent
//	C: line             the client sends the line and CRLF; lines in a row go in one write
//	X: "raw\r\n"        it sends this, in Go's notation; * N behind it repeats it
//	S: line             the server's next line; "..." at its end stands for any rest, ID for a queue id
//	E:                  the server closes the connection
//	N:                  the client goes away, and comes anew
//	M: "content"        the next message that cleanup got, without our Received: header
//	F: <from> <to> ...  its sender and recipients, with what was said of reports
//	L: text             the log has it; ID stands for a queue id
func TestDialogs(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogues", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dialog(t, name, string(text))
		})
	}
}

var queueID = regexp.MustCompile(`\b[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10}z[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-y]+\b`)

func dialog(t *testing.T, name, text string) {
	var main string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "cf: "); ok {
			main += rest
		}
	}
	i := run(t, main, &submittest.Cleanup{})
	var (
		conn    net.Conn
		r       *bufio.Reader
		pending []byte
		message *submittest.Message
		seen    int
	)
	dial := func() {
		if conn != nil {
			conn.Close()
		}
		var err error
		if conn, err = net.Dial("tcp", i.addr); err != nil {
			t.Fatal(err)
		}
		r = bufio.NewReader(conn)
		conn.SetDeadline(time.Now().Add(10 * time.Second))
	}
	send := func() {
		if len(pending) > 0 {
			conn.Write(pending) // that the server has gone shows in what comes
			pending = nil
		}
	}
	dial()
	defer func() { conn.Close() }()
	for n, line := range strings.Split(text, "\n") {
		at := name + ":" + strconv.Itoa(n+1)
		kind, arg, _ := strings.Cut(line, ":")
		arg = strings.TrimPrefix(arg, " ")
		if kind != "C" && kind != "X" {
			send()
		}
		switch {
		case line == "" || line[0] == '#' || kind == "cf":
		case kind == "C":
			pending = append(pending, arg+"\r\n"...)
		case kind == "X":
			times := 1
			if k := strings.LastIndex(arg, "\" * "); k > 0 {
				times, _ = strconv.Atoi(arg[k+4:])
				arg = arg[:k+1]
			}
			raw, err := strconv.Unquote(arg)
			if err != nil {
				t.Fatalf("%s: %v", at, err)
			}
			pending = append(pending, strings.Repeat(raw, times)...)
		case kind == "S":
			got, err := r.ReadString('\n')
			got = queueID.ReplaceAllString(strings.TrimSuffix(got, "\r\n"), "ID")
			prefix, cut := strings.CutSuffix(arg, "...")
			if err != nil || got != arg && !(cut && strings.HasPrefix(got, prefix)) {
				t.Fatalf("%s: server says %q, %v\nwant %q\n%s", at, got, err, arg, i.logged())
			}
		case kind == "E":
			if b, err := r.ReadByte(); err == nil || isTimeout(err) {
				rest, _ := r.ReadString('\n')
				t.Fatalf("%s: not closed: %q %v", at, string(b)+rest, err)
			}
		case kind == "N":
			dial()
		case kind == "M":
			all := i.cleanup.Messages()
			if seen >= len(all) {
				t.Fatalf("%s: cleanup got no more than %d messages", at, len(all))
			}
			message = all[seen]
			seen++
			want, err := strconv.Unquote(arg)
			if err != nil {
				t.Fatalf("%s: %v", at, err)
			}
			if got := withoutReceived(t, message.Content); got != want {
				t.Fatalf("%s: content %q\nwant %q", at, got, want)
			}
		case kind == "F":
			got := "<" + message.Envelope.Sender.External() + ">" + given("RET", message.Envelope.Ret) + given("ENVID", message.Envelope.EnvID)
			for _, rcpt := range message.Envelope.Recipients {
				got += " <" + rcpt.Address.External() + ">" + given("NOTIFY", rcpt.Notify.String()) + given("ORCPT", rcpt.ORCPT)
			}
			if got != arg {
				t.Fatalf("%s: envelope %s\nwant %s", at, got, arg)
			}
		case kind == "L":
			deadline := time.Now().Add(5 * time.Second)
			for !strings.Contains(queueID.ReplaceAllString(i.logged(), "ID"), arg) {
				if time.Now().After(deadline) {
					t.Fatalf("%s: not in the log: %q\n%s", at, arg, i.logged())
				}
				time.Sleep(5 * time.Millisecond)
			}
		default:
			t.Fatalf("%s: %q", at, line)
		}
	}
	if n := len(i.cleanup.Messages()); seen < n && strings.Contains(text, "\nM: ") {
		t.Fatalf("%s: cleanup got %d messages, %d were expected", name, n, seen)
	}
}

func given(name, value string) string {
	if value == "" {
		return ""
	}
	return " " + name + "=" + value
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// withoutReceived takes off the header that the server has put in front.
func withoutReceived(t *testing.T, content []byte) string {
	t.Helper()
	s := string(content)
	if !strings.HasPrefix(s, "Received: from ") {
		t.Fatalf("no Received header: %.200q", s)
	}
	for {
		i := strings.Index(s, "\r\n")
		s = s[i+2:]
		if s == "" || s[0] != '\t' {
			return s
		}
	}
}
