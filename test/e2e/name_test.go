package e2e

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postrider/test/instance"
)

// smtpd, which can open no socket, finds the names of its clients by way of smtp: the
// confirmed name is in the log and in Received, a false claim is named and not used, and
// smtpd_peername_lookup = no, after a reload, asks nobody.
func TestClientNames(t *testing.T) {
	t.Parallel()
	zone := map[string]string{
		"1.10.99.127.in-addr.arpa.": "PTR client.example.", "client.example.": "A 127.99.10.1",
		"2.10.99.127.in-addr.arpa.": "PTR liar.example.", "liar.example.": "A 192.0.2.1",
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	s := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(up) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Rcode = dns.RcodeNameError
		if data := zone[q.Question[0].Name]; data != "" {
			m.Rcode = dns.RcodeSuccess
			rr, err := dns.NewRR(q.Question[0].Name + " 60 IN " + data)
			if err != nil {
				t.Error(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		w.WriteMsg(m)
	})}
	go s.ActivateAndServe()
	<-up
	t.Cleanup(func() { s.Shutdown() })

	i := instance.Started(t, "smtpd_peername_lookup = yes", "dns_nameservers = "+pc.LocalAddr().String())
	send := func(from, id string) {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", i.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(instance.Patience))
		r := bufio.NewReader(c)
		r.ReadString('\n')
		for _, line := range []string{"HELO h.example", "MAIL FROM:<a@b.example>", "RCPT TO:<" + id + "@" + instance.Domain + ">", "DATA", "Subject: x\r\n\r\n.", "QUIT"} {
			c.Write([]byte(line + "\r\n"))
			if reply, err := r.ReadString('\n'); err != nil || reply[0] > '3' {
				t.Fatalf("%s: %q %v", line, reply, err)
			}
		}
	}
	received := func(id, want string) {
		t.Helper()
		i.Await("mail for "+id, func() bool { return len(i.Maildir(id)) == 1 })
		if m := string(i.Maildir(id)[0]); !strings.Contains(m, "Received: from h.example ("+want+")\n") {
			t.Errorf("%s: not from %s:\n%s", id, want, m)
		}
	}
	send("127.99.10.1", "one")
	received("one", "client.example [127.99.10.1]")
	i.AwaitLog(`smtpd\[\d+\]: connect from client\.example\[127\.99\.10\.1\]`)
	i.AwaitLog(`smtpd\[\d+\]: \w+: client=client\.example\[127\.99\.10\.1\]`)
	i.AwaitLog(`smtpd\[\d+\]: disconnect from client\.example\[127\.99\.10\.1\]`)
	send("127.99.10.2", "two")
	received("two", "unknown [127.99.10.2]")
	i.AwaitLog(`smtpd\[\d+\]: warning: hostname liar\.example does not resolve to address 127\.99\.10\.2$`)

	old := i.PID("smtp")
	i.KillOne("smtp") // its successor is asked
	i.Await("another smtp", func() bool { p := i.PIDs("smtp"); return len(p) == 1 && p[0] != old })
	i.Await("names again", func() bool {
		send("127.99.10.1", "again")
		return len(i.Grep(`client=client\.example\[127\.99\.10\.1\]`)) > 1
	})

	i.Set("smtpd_peername_lookup = no")
	i.Must("master", "reload")
	i.Await("the reload", func() bool {
		send("127.99.10.1", "reloaded")
		return len(i.Grep(`client=unknown\[127\.99\.10\.1\]`)) > 0
	})
}
