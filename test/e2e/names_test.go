package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// nameServer answers that 127.0.0.1 is the exchanger of what ends with .good.test, fails
// for .fail.test, and says nothing at all about .hang.test.
func nameServer(t *testing.T) (addr string) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: c, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		name := q.Question[0].Name
		m := new(dns.Msg)
		m.SetReply(q)
		switch {
		case strings.HasSuffix(name, ".hang.test."):
			return
		case strings.HasSuffix(name, ".fail.test."):
			m.Rcode = dns.RcodeServerFailure
		case q.Question[0].Qtype == dns.TypeMX:
			rr, _ := dns.NewRR(name + " 60 IN MX 10 mx." + name)
			m.Answer = append(m.Answer, rr)
		case q.Question[0].Qtype == dns.TypeA:
			rr, _ := dns.NewRR(name + " 60 IN A 127.0.0.1")
			m.Answer = append(m.Answer, rr)
		}
		w.WriteMsg(m)
	})}
	go s.ActivateAndServe()
	t.Cleanup(func() { s.Shutdown() })
	return c.LocalAddr().String()
}

// A name server that does not answer keeps only the mail waiting that needs its answer:
// it takes no slot of the transport.
func TestNamesThatHang(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	s := sink.New(t, &l)
	_, port, _ := net.SplitHostPort(s.Addr)
	i := instance.Started(t, "default_process_limit = 3", "relayhost =", "smtp_tcp_port = "+port, "inet_protocols = ipv4", "smtp_host_lookup = dns", "disable_dns_lookups = no",
		"dns_nameservers = "+nameServer(t))
	var hung string
	for n := range 40 {
		hung = send(t, i, nil, source.New(fmt.Sprintf("hang-%d", n), "", 500, fmt.Sprintf("x@d%d.hang.test", n)))
	}
	begin := time.Now()
	for n := range 20 {
		send(t, i, &l, source.New(fmt.Sprintf("good-%d", n), "a@source.test", 500, fmt.Sprintf("x@d%d.good.test", n)))
	}
	fail := send(t, i, nil, source.New("fail", "", 500, "x@d.fail.test"))
	i.Await("all healthy mail", func() bool { return l.Open() == 0 })
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("healthy mail took %v", took)
	}
	if q := i.Entry(hung); q.Queue != "active" {
		t.Errorf("what needs a name that hangs: %+v", q)
	}
	why := i.Must("postqueue", "-w", hung)
	if !strings.Contains(why, "waits for the addresses of d39.hang.test, which are being looked up") {
		t.Errorf("why: %s", why)
	}
	i.AwaitLog(fail + `: to=<x@d\.fail\.test>, relay=none, delay=[\d.]+, delays=\S+, dsn=4\.4\.3, status=deferred ` +
		`\(Host or domain name not found\. Name service error for name=d\.fail\.test type=MX: Host not found, try again\)$`)
}
