package machine

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// A system that was down for longer than mail lives tries everything once before it
// returns any: what can be delivered now is.
func TestDownForLongerThanTheLifetime(t *testing.T) {
	t.Parallel()
	const messages = 10
	var l ledger.Ledger
	alive, dead, back := sink.New(t, &l), sink.New(t, &l), sink.New(t, &l)
	alive.Refuse()
	dead.Refuse()
	back.Reports()
	lifetime := 8 * time.Second
	i := instance.New(t, "transport_maps = inline:{ {alive.test=smtp:"+alive.NextHop()+"} {dead.test=smtp:"+dead.NextHop()+"} {back.test=smtp:"+back.NextHop()+"} }",
		"minimal_backoff_time = 300s", "maximal_backoff_time = 300s",
		"default_destination_concurrency_failed_cohort_limit = 0", // what waits for a dead destination is not attempted
		fmt.Sprintf("maximal_queue_lifetime = %ds", int(lifetime.Seconds())))
	i.Start()
	for n := range messages {
		for _, domain := range []string{"alive", "dead"} {
			send(t, i, &l, source.New(fmt.Sprintf("%s-%d", domain, n), "a@back.test", 1000, fmt.Sprintf("r%d@%s.test", n, domain)))
		}
	}
	sent := time.Now()
	i.Await("all to be deferred", func() bool {
		n := 0
		for _, q := range i.List() {
			if q.Queue == "deferred" {
				n++
			}
		}
		return n == 2*messages
	})
	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}
	if v := l.Judge(); v.Delivered+v.Bounced > 0 {
		t.Fatalf("before: %v", v)
	}
	time.Sleep(time.Until(sent.Add(lifetime + time.Second))) // the time itself is the test's subject
	alive.Accept(t)
	i.Start()
	i.Await("an empty queue", func() bool {
		i.Run("postqueue", "-f") // what is due in minutes is old by now, too
		return l.Open() == 0 && i.Drained()
	})
	v := l.Judge()
	if v.Err() != nil || v.Delivered != messages || v.Bounced != messages || len(v.Both)+len(v.Duplicates) > 0 {
		t.Errorf("%v; %v, not %d delivered and %d returned", v.Err(), v, messages, messages)
	}
}

// The name servers go away, refusing or silent, and come back: mail waits and flows.
func TestNameServersGoAndComeBack(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	far := sink.New(t, &l)
	_, port, _ := net.SplitHostPort(far.Addr)
	var silent atomic.Bool
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if silent.Load() {
			return
		}
		m := new(dns.Msg)
		m.SetReply(q)
		name := q.Question[0].Name
		text := map[uint16]string{dns.TypeMX: " 1 IN MX 10 mx." + name, dns.TypeA: " 1 IN A 127.0.0.1"}[q.Question[0].Qtype]
		if rr, err := dns.NewRR(name + text); err == nil && text != "" {
			m.Answer = append(m.Answer, rr)
		}
		w.WriteMsg(m)
	})
	listen := func(addr string) (stop func(), at string) {
		t.Helper()
		c, err := net.ListenPacket("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		s := &dns.Server{PacketConn: c, Handler: answer}
		go s.ActivateAndServe()
		return func() { c.Close() }, c.LocalAddr().String()
	}
	stop, addr := listen("127.0.0.1:0")
	i := instance.Started(t, "relayhost =", "smtp_tcp_port = "+port, "inet_protocols = ipv4", "smtp_host_lookup = dns", "disable_dns_lookups = no",
		"dns_nameservers = "+addr, "minimal_backoff_time = 1s", "maximal_backoff_time = 1s")
	n := 0
	mail := func() { // each to a domain that nobody has asked for
		n++
		send(t, i, &l, source.New(fmt.Sprintf("m%d", n), "", 1000, fmt.Sprintf("r@d%d.test", n)))
	}
	flows := func(when string) {
		t.Helper()
		i.Await("mail to flow "+when, func() bool { i.Run("postqueue", "-f"); return l.Open() == 0 && i.Drained() })
	}
	mail()
	flows("at first")
	stop()
	mail()
	i.AwaitLog(`to=<r@d2\.test>.*status=deferred`)
	stop, _ = listen(addr)
	flows("after the name server refused")
	silent.Store(true)
	mail()
	i.AwaitLog(`to=<r@d3\.test>.*status=deferred`)
	silent.Store(false)
	flows("after the name server was silent")
	stop()
	if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 {
		t.Errorf("%v; %v", v.Err(), v)
	}
}
