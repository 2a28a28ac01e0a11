package scale

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// nameServer answers for names below example, whose mail goes to 127.0.0.1, and never
// for others.
type nameServer struct {
	addr  string
	hangs atomic.Int64 // questions without an answer
}

func startNames(t testing.TB) *nameServer {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameServer{addr: pc.LocalAddr().String()}
	up := make(chan struct{})
	s := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(n.answer), NotifyStartedFunc: func() { close(up) }}
	go s.ActivateAndServe()
	<-up
	t.Cleanup(func() { s.Shutdown() })
	return n
}

func (n *nameServer) answer(w dns.ResponseWriter, q *dns.Msg) {
	name := strings.ToLower(q.Question[0].Name)
	if !strings.HasSuffix(name, ".example.") {
		n.hangs.Add(1)
		return
	}
	m := new(dns.Msg).SetReply(q)
	head := dns.RR_Header{Name: q.Question[0].Name, Class: dns.ClassINET, Ttl: 1, Rrtype: q.Question[0].Qtype}
	switch q.Question[0].Qtype {
	case dns.TypeMX:
		m.Answer = append(m.Answer, &dns.MX{Hdr: head, Preference: 10, Mx: "mx." + q.Question[0].Name})
	case dns.TypeA:
		m.Answer = append(m.Answer, &dns.A{Hdr: head, A: net.IPv4(127, 0, 0, 1)})
	}
	w.WriteMsg(m)
}

// hanging is a world with so many names that no server answers for, one message each,
// and 20 healthy domains that are looked up again and again.
func hanging(t testing.TB, names int, lines ...string) (w *world, s *nameServer, to func(int) string) {
	s = startNames(t)
	w = newWorld(t, "smtp:"+dead)
	_, port, _ := net.SplitHostPort(w.good.Addr)
	w.Set(append([]string{"relayhost =", "disable_dns_lookups = no", "dns_nameservers = " + s.addr, "smtp_tcp_port = " + port,
		"smtp_connection_cache_on_demand = no", "unproven_destination_share = 50"}, lines...)...)
	return w, s, func(n int) string { return fmt.Sprintf("r@d%d.example", n%20) }
}

// TestNamesSmall: names whose servers do not answer hold half of the slots at most, and
// mail for names that are known does not wait for them.
func TestNamesSmall(t *testing.T) {
	const names = 300
	w, s, to := hanging(t, names, "default_process_limit = 20")
	w.Start()
	begin := time.Now()
	f, stop := w.flow("n", 50, to)
	w.until("mail for all the healthy", 5*time.Second, func() bool { return f.Arrived() > 25 })
	w.feed(names, func(i int) string { return fmt.Sprintf("r@d%d.hangs", i) })
	w.until("the others to be looked up", 5*time.Second, func() bool { return s.hangs.Load() >= 9 })
	time.Sleep(2 * time.Second)
	stop()
	if x := f.Times(begin, time.Now(), 2*time.Second); x.Within(2*time.Second) < 90 || len(x.All) < 50 {
		t.Errorf("healthy mail: %v", x)
	}
}
