package parity

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A transaction is a script of lines:
//
//	# comment
//	< text                    a line for the standard input of the next command
//	$ command args            runs a command; what it prints and its exit code are noted
//	C: line                   says a line to the SMTP server, on a session that stays open
//	C+ line                   the same without waiting for a reply
//	hang up                   closes the session
//	await N PATTERN           waits for N lines of the log since the transaction began
//
// $1, $2, ... stand for the queue ids in the order in which the log or a reply showed them.
// At its end the log's lines are noted, sorted for each message.

// mailSystem is one that scripts run on.
type mailSystem interface {
	command(name string, args ...string) *exec.Cmd
	smtp() string // address
	log() string  // file
}

// player runs one transaction.
type player struct {
	t     *testing.T
	sys   mailSystem
	out   bytes.Buffer
	stdin strings.Builder
	from  int64 // the log's size at the start
	conn  net.Conn
	r     *bufio.Reader
	ids   []string // queue ids in the order of their appearance

	sessions int // that were begun
}

func play(t *testing.T, sys mailSystem, script string) string {
	t.Helper()
	p := &player{t: t, sys: sys}
	p.settle() // what comes late belongs to the transaction before
	if st, err := os.Stat(sys.log()); err == nil {
		p.from = st.Size()
	}
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "", "#":
		case "<":
			p.stdin.WriteString(rest + "\n")
		case "$":
			p.runs(rest)
		case "C:", "C+":
			p.says(rest, word == "C:")
		case "hang":
			p.conn.Close()
			p.conn = nil
		case "await":
			count, pattern, _ := strings.Cut(rest, " ")
			n, err := strconv.Atoi(count)
			if err != nil {
				t.Fatalf("%q", line)
			}
			p.await(n, p.ours(pattern))
		default:
			t.Fatalf("%q", line)
		}
	}
	if p.conn != nil {
		p.says("QUIT", true)
		p.conn.Close()
	}
	p.await(p.sessions, `: disconnect from `)
	p.settle()
	return normal(p.out.String(), sortedLog(p.logged()), p)
}

// ours puts queue ids in.
func (p *player) ours(s string) string {
	p.see(p.logged())
	for n := len(p.ids); n > 0; n-- {
		s = strings.ReplaceAll(s, "$"+strconv.Itoa(n), p.ids[n-1])
	}
	return s
}

func (p *player) runs(line string) {
	line = p.ours(line)
	args := strings.Fields(line)
	for i, a := range args {
		if a == `''` {
			args[i] = ""
		} else if s, err := strconv.Unquote(a); err == nil {
			args[i] = s
		}
	}
	cmd := p.sys.command(args[0], args[1:]...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(p.stdin.String()), &out, &out
	p.stdin.Reset()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatalf("%s: %v", line, err)
	}
	fmt.Fprintf(&p.out, "$ %s\n%s", line, out.String())
	if s := out.String(); s != "" && !strings.HasSuffix(s, "\n") {
		p.out.WriteString("\n")
	}
	fmt.Fprintf(&p.out, "exit %d\n", cmd.ProcessState.ExitCode())
}

func (p *player) says(line string, wait bool) {
	if p.conn == nil {
		conn, err := net.Dial("tcp", p.sys.smtp())
		if err != nil {
			p.t.Fatal(err)
		}
		p.conn, p.r = conn, bufio.NewReader(conn)
		p.sessions++
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		p.reply()
	}
	fmt.Fprintf(&p.out, "C: %s\n", line)
	p.conn.Write([]byte(line + "\r\n"))
	if wait {
		p.reply()
	}
}

func (p *player) reply() {
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			p.out.WriteString("S: closed\n")
			return
		}
		line = strings.TrimRight(line, "\r\n")
		p.see(line)
		fmt.Fprintf(&p.out, "S: %s\n", line)
		if len(line) < 4 || line[3] != '-' {
			return
		}
	}
}

// logged is what the log has since the transaction began, whole lines.
func (p *player) logged() string {
	b, err := os.ReadFile(p.sys.log())
	if err != nil || int64(len(b)) < p.from {
		p.t.Fatal(err, len(b))
	}
	b = b[p.from:]
	return string(b[:bytes.LastIndexByte(b, '\n')+1])
}

func (p *player) await(n int, pattern string) {
	p.t.Helper()
	re, err := regexp.Compile(pattern)
	if err != nil {
		p.t.Fatal(err)
	}
	for end := time.Now().Add(patience()); ; time.Sleep(5 * time.Millisecond) {
		text := p.logged()
		found := 0
		for line := range strings.Lines(text) {
			if re.MatchString(line) {
				found++
			}
		}
		if found >= n {
			p.see(text)
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("waited in vain for %d times %q; so far:\n%s\nlog:\n%s", n, pattern, p.out.String(), text)
		}
	}
}

// settle waits until the log has been still for a moment.
func (p *player) settle() {
	size := int64(-1)
	for {
		st, err := os.Stat(p.sys.log())
		if err == nil && st.Size() == size {
			return
		}
		if err == nil {
			size = st.Size()
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// patience is how long a line of the log is waited for. Postfix's pickup looks once a minute.
func patience() time.Duration {
	if *record {
		return 90 * time.Second
	}
	return 20 * time.Second
}

// queueID is one in the log or in a reply.
var queueID = regexp.MustCompile(`(?:queued as |: )([0-9A-Za-z_]{6,40})(?::|$)`)

// see notes new queue ids. What postdrop named is the message's name until it is in the queue.
func (p *player) see(text string) {
	for line := range strings.Lines(text) {
		for _, m := range queueID.FindAllStringSubmatch(strings.TrimSpace(line), -1) {
			if looksLikeID(m[1]) && !contains(p.ids, m[1]) {
				p.ids = append(p.ids, m[1])
			}
		}
	}
}

// form is that of queue ids: short ones of Postfix, long ones, and what postdrop names.
var form = regexp.MustCompile(`^([0-9A-F]{9,16}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,12}z[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]+(_[0-9a-f]{16})?)$`)

func looksLikeID(s string) bool { return form.MatchString(s) && strings.ContainsAny(s, "0123456789") }

func contains(all []string, s string) bool {
	for _, x := range all {
		if x == s {
			return true
		}
	}
	return false
}
