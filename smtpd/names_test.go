package smtpd

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"postrider/lib/ipc"
	"postrider/lib/proto"
	"postrider/lib/submit/submittest"
)

// namer plays smtp: it answers questions as f says; nil is silence.
func (i *instance) namer(f func(q *proto.NameOf) *proto.Named) (end func()) {
	i.t.Helper()
	x, y, err := ipc.Pair()
	if err != nil {
		i.t.Fatal(err)
	}
	ours, _ := ipc.FromFD(x)
	theirs, _ := ipc.FromFD(y)
	conn := ipc.New(ours, 0)
	go i.names.connect(theirs)
	if _, err := conn.Greet(ipc.Hello{Protocol: proto.NamesName, Version: proto.NamesVersion}); err != nil {
		i.t.Fatal(err)
	}
	for up := false; !up; time.Sleep(time.Millisecond) {
		i.names.mu.Lock()
		up = len(i.names.conns) > 0
		i.names.mu.Unlock()
	}
	go func() {
		for {
			fr, err := conn.Next()
			if err != nil {
				return
			}
			if fr.Type == proto.TypeAsk {
				var q proto.Ask
				if err := q.Decode(fr.Payload); err != nil {
					i.t.Error(err)
				}
				a := zone(q)
				a.ID = q.ID
				conn.Send(proto.TypeTold, &a)
				continue
			}
			var q proto.NameOf
			if err := q.Decode(fr.Payload); err != nil {
				i.t.Error(err)
			}
			if a := f(&q); a != nil {
				a.ID = q.ID
				conn.Send(proto.TypeNamed, a)
			}
		}
	}()
	i.t.Cleanup(func() { conn.Close() })
	return func() { conn.Close() }
}

// greeted dials and returns how long the greeting took.
func (i *instance) greeted() (net.Conn, time.Duration) {
	i.t.Helper()
	began := time.Now()
	c, err := net.Dial("tcp", i.addr)
	if err != nil {
		i.t.Fatal(err)
	}
	c.SetDeadline(began.Add(20 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "220 ") {
		i.t.Fatalf("%q %v", line, err)
	}
	i.t.Cleanup(func() { c.Close() })
	return c, time.Since(began)
}

// The name is in the log and in Received; a name that does not lead back is not, and the
// log says so.
func TestClientName(t *testing.T) {
	i := run(t, "", &submittest.Cleanup{})
	warning := ""
	i.namer(func(q *proto.NameOf) *proto.Named {
		if q.Addr.String() != "127.0.0.1" {
			t.Errorf("asked for %s", q.Addr)
		}
		if warning != "" {
			return &proto.Named{Warning: warning}
		}
		return &proto.Named{Name: "client.example"}
	})
	c, _ := i.greeted()
	r := bufio.NewReader(c)
	for _, line := range []string{"HELO x", "MAIL FROM:<a@b.example>", "RCPT TO:<postmaster@ours.example>", "DATA", "x: y\r\n\r\n.", "QUIT"} {
		c.Write([]byte(line + "\r\n"))
		if reply, err := r.ReadString('\n'); err != nil || reply[0] > '3' {
			t.Fatalf("%s: %q %v", line, reply, err)
		}
	}
	i.waitLog("disconnect from client.example[127.0.0.1]")
	for _, want := range []string{": connect from client.example[127.0.0.1]", ": client=client.example[127.0.0.1]"} {
		i.waitLog(want)
	}
	if m := i.cleanup.Messages(); len(m) != 1 || !strings.HasPrefix(string(m[0].Content), "Received: from x (client.example [127.0.0.1])\r\n") || m[0].Envelope.Client.Name != "client.example" {
		t.Errorf("%+v", m)
	}
	warning = "hostname liar.example does not resolve to address 127.0.0.1"
	i.greeted()
	i.waitLog("warning: " + warning)
	i.waitLog("connect from unknown[127.0.0.1]")
}

// smtpd_peername_lookup = no asks nobody.
func TestNoClientName(t *testing.T) {
	i := run(t, "smtpd_peername_lookup = no\n", &submittest.Cleanup{})
	i.namer(func(*proto.NameOf) *proto.Named { t.Error("asked"); return &proto.Named{Name: "x.example"} })
	i.greeted()
	i.waitLog("connect from unknown[127.0.0.1]")
}

// Who waits for a name keeps nobody waiting; it is given up after a limit, when smtp
// dies, and at a stop.
func TestSlowName(t *testing.T) {
	t.Parallel()
	i := run(t, "", &submittest.Cleanup{})
	silent := make(chan bool, 4)
	end := i.namer(func(*proto.NameOf) *proto.Named {
		if <-silent {
			return nil
		}
		return &proto.Named{Name: "quick.example"}
	})
	silent <- true
	slow := make(chan time.Duration)
	go func() { _, d := i.greeted(); slow <- d }()
	for {
		i.names.mu.Lock()
		asked := i.names.last
		i.names.mu.Unlock()
		if asked == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	silent <- false
	if _, d := i.greeted(); d > nameTime/2 {
		t.Errorf("waited %v for another's name", d)
	}
	i.waitLog("connect from quick.example[127.0.0.1]")
	if d := <-slow; d < nameTime || d > 2*nameTime {
		t.Errorf("given up after %v", d)
	}
	silent <- true
	go func() { _, d := i.greeted(); slow <- d }()
	for {
		i.names.mu.Lock()
		asked := i.names.last
		i.names.mu.Unlock()
		if asked == 3 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	end()
	if d := <-slow; d > nameTime/2 {
		t.Errorf("waited %v for a dead smtp", d)
	}
	if _, d := i.greeted(); d > nameTime/2 {
		t.Errorf("waited %v without an smtp", d)
	}
	if n := len(i.names.waiting); n != 0 {
		t.Errorf("%d questions are left", n)
	}
}
