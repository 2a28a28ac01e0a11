package sasl

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"
	"golang.org/x/crypto/bcrypt"
)

// The examples of Drepper's text.
func TestCrypt(t *testing.T) {
	for hash, password := range map[string]string{
		"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1":                    "Hello world!",
		"$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.": "Hello world!",
		"$6$rounds=5000$toolongsaltstrin$lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoNeKQzQ3glMhwllF7oGDZxUhx1yxdYcz/e1JSbq3y6JMxxl8audkUEm0":  "This is just a test",
		"$6$rounds=1400$anotherlongsalts$POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1":  "a very much longer text to encrypt.  This one even stretches over morethan one line.",
	} {
		if !compareCrypt(hash, []byte(password)) {
			t.Errorf("%s: not %q", hash, password)
		}
		if compareCrypt(hash, []byte(password+"x")) {
			t.Errorf("%s takes a wrong password", hash)
		}
	}
}

func TestFile(t *testing.T) {
	b, err := bcrypt.GenerateFromPassword([]byte("geheim"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	salted := "$6$abc$" + crypt512([]byte("pass word"), []byte("abc"), 5000)
	f, err := ParseFile("/x", []byte("# users\nalice:"+string(b)+"\n\nbob@example.com:{SHA512-CRYPT}"+salted+"::::\neve:geheim\n"), 2)
	if err == nil || !strings.Contains(err.Error(), "/x, line 5: ") || strings.Contains(err.Error(), "geheim") {
		t.Errorf("%v", err)
	}
	for _, c := range []struct {
		response string
		user     string
	}{
		{"\x00alice\x00geheim", "alice"}, {"alice\x00alice\x00geheim", "alice"}, {"bob\x00alice\x00geheim", ""},
		{"\x00alice\x00", ""}, {"\x00alice\x00geheim\x00", ""}, {"alice", ""}, {"", ""}, {"\x00eve\x00geheim", ""},
		{"\x00bob@example.com\x00pass word", "bob@example.com"}, {"\x00bob@example.com\x00geheim", ""}, {"\x00nobody\x00geheim", ""},
	} {
		_, s := f.Start("PLAIN", Peer{}, []byte(c.response))
		if ok := s.Outcome == Accepted; ok != (c.user != "") || ok && s.User != c.user {
			t.Errorf("%q: %+v", c.response, s)
		}
	}
	l, s := f.Start("LOGIN", Peer{}, nil)
	if string(s.Challenge) != "Username:" {
		t.Errorf("%+v", s)
	}
	if s = l.Next([]byte("alice")); string(s.Challenge) != "Password:" {
		t.Errorf("%+v", s)
	}
	if s = l.Next([]byte("geheim")); s.Outcome != Accepted || s.User != "alice" {
		t.Errorf("%+v", s)
	}
	if _, s = f.Start("CRAM-MD5", Peer{}, nil); s.Outcome != Refused {
		t.Errorf("%+v", s)
	}
}

func TestChoose(t *testing.T) {
	all := []string{"GSSAPI", "LOGIN", "plain", "SCRAM-SHA-256"}
	for _, c := range []struct {
		offered, filter []string
		o               Options
		want            string
	}{
		{all, nil, NoAnonymous, "SCRAM-SHA-256"}, {all, nil, NoPlaintext | NoAnonymous, "SCRAM-SHA-256"},
		{all[:3], nil, NoAnonymous, "PLAIN"}, {all[:2], nil, NoAnonymous, "LOGIN"}, {all[:3], nil, NoPlaintext, ""},
		{all, []string{"login"}, NoAnonymous, "LOGIN"}, {nil, nil, 0, ""}, {all, nil, NoDictionary, ""},
	} {
		if got := Choose(c.offered, c.filter, c.o); got != c.want {
			t.Errorf("%v of %v under %b: %s", c.filter, c.offered, c.o, got)
		}
	}
	if o := ParseOptions([]string{"noplaintext", "noanonymous"}); o != NoPlaintext|NoAnonymous || o.Allow("ANONYMOUS") || o.Allow("PLAIN") || !o.Allow("SCRAM-SHA-256") {
		t.Errorf("%b", o)
	}
}

// A server that does not know the password cannot pass for one that does, and one that asks
// for too much work gets none.
func TestScram(t *testing.T) {
	known, err := scram.SHA256.NewClient("alice", "geheim", "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := known.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]bool{"geheim": true, "falsch": false} {
		c, err := NewClient("SCRAM-SHA-256", "alice", password)
		if err != nil {
			t.Fatal(err)
		}
		conv := server.NewConversation()
		_, answer, err := c.Start()
		for err == nil && !conv.Done() {
			var q string
			if q, err = conv.Step(string(answer)); err == nil {
				answer, err = c.Next([]byte(q))
			}
		}
		if got := err == nil && conv.Valid() && c.Done(); got != want {
			t.Errorf("%s: %v, %v", password, got, err)
		}
	}
	c, _ := NewClient("SCRAM-SHA-256", "alice", "geheim")
	if c.Start(); c.Done() {
		t.Error("a yes at once is believed")
	}
	if _, err := c.Next([]byte("r=x,s=c2FsdA==,i=2000000000")); err != ErrChallenge {
		t.Errorf("%v", err)
	}
}

// TestDovecot speaks with a copy of Dovecot's auth server, many logins at once over one
// connection, and again after it broke.
func TestDovecot(t *testing.T) {
	l, err := net.Listen("unix", t.TempDir()+"/auth")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	up := make(chan net.Conn, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			up <- conn
			go func() {
				fmt.Fprint(conn, "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n")
				for s := bufio.NewScanner(conn); s.Scan(); {
					f := strings.Split(s.Text(), "\t")
					switch {
					case f[0] == "AUTH" && f[2] == "LOGIN":
						fmt.Fprintf(conn, "CONT\t%s\tVXNlcm5hbWU6\n", f[1])
					case f[0] == "CONT" || strings.Contains(s.Text(), "resp=AGEAYg=="):
						fmt.Fprintf(conn, "OK\t%s\tuser=a\x01tb\tx=y\n", f[1])
					case strings.Contains(s.Text(), "rip=192.0.2.9"):
						fmt.Fprintf(conn, "FAIL\t%s\tuser=a\ttemp\n", f[1])
					case f[0] == "AUTH":
						fmt.Fprintf(conn, "FAIL\t%s\tuser=a\treason=no such thing\n", f[1])
					}
				}
			}()
		}
	}()
	d := &Dovecot{Dial: func() (net.Conn, error) { return net.Dial("unix", l.Addr().String()) }, PID: 1, Warn: t.Logf}
	defer d.Close()
	if m := strings.Join(d.Mechanisms(), " "); m != "PLAIN LOGIN" {
		t.Error(m)
	}
	for range 2 {
		if _, s := d.Start("PLAIN", Peer{Service: "smtp"}, []byte("\x00a\x00b")); s.Outcome != Accepted || s.User != "a\tb" {
			t.Errorf("%+v", s)
		}
		if _, s := d.Start("PLAIN", Peer{Service: "smtp"}, []byte("\x00a\x00c")); s.Outcome != Refused || s.Reason != "no such thing" {
			t.Errorf("%+v", s)
		}
		if _, s := d.Start("PLAIN", Peer{Remote: "192.0.2.9"}, []byte("\x00a\x00c")); s.Outcome != Temporary {
			t.Errorf("%+v", s)
		}
		q, s := d.Start("LOGIN", Peer{}, nil)
		if s.Outcome != Continue || string(s.Challenge) != "Username:" {
			t.Errorf("%+v", s)
		}
		other, _ := d.Start("LOGIN", Peer{}, nil)
		other.Cancel()
		if s = q.Next([]byte("a")); s.Outcome != Accepted {
			t.Errorf("%+v", s)
		}
		// It goes away, with a login under way.
		q, _ = d.Start("LOGIN", Peer{}, nil)
		(<-up).Close()
		if s = q.Next([]byte("a")); s.Outcome != Temporary || s.Reason != "Connection lost to authentication server" {
			t.Errorf("%+v", s)
		}
		for end := time.Now().Add(10 * time.Second); d.link.up() && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
	}
	l.Close()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, s := d.Start("PLAIN", Peer{}, []byte("\x00a\x00b")); s.Reason == "Can't connect to authentication server" {
			break
		}
	}
	if m := strings.Join(d.Mechanisms(), " "); m != "PLAIN LOGIN" {
		t.Error("what was offered before is not offered while it is away:", m)
	}
}
