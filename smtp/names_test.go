package smtp

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"postrider/lib/dns"
	"postrider/lib/ipc"
	"postrider/lib/maillog"
	"postrider/lib/proto"
)

// A name counts when it leads back to the address; else the words are Postfix's.
func TestNameOf(t *testing.T) {
	server := zone(t,
		"1.2.0.192.in-addr.arpa. 60 IN PTR Good.Example.",
		"good.example. 60 IN A 192.0.2.99", "good.example. 60 IN A 192.0.2.1",
		"2.2.0.192.in-addr.arpa. 60 IN PTR liar.example.",
		"liar.example. 60 IN A 198.51.100.1",
		"3.2.0.192.in-addr.arpa. 60 IN PTR nowhere.example.",
		"4.2.0.192.in-addr.arpa. 60 IN PTR 192.0.2.4.",
		`5.2.0.192.in-addr.arpa. 60 IN PTR x\010y\032z.example.`,
		"6.2.0.192.in-addr.arpa. 60 IN CNAME 6.sub.2.0.192.in-addr.arpa.",
		"6.sub.2.0.192.in-addr.arpa. 60 IN PTR hosted.example.",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 60 IN PTR six.example.",
		"six.example. 60 IN AAAA 2001:db8::1",
	)
	hosts := []byte("127.0.0.1 localhost localhost.localdomain\n192.0.2.6 hosted.example\n192.0.2.7 first.example other.example\n192.0.2.8 first.example\n")
	e := &environment{resolver: dns.New(dns.Config{Servers: []string{server}, Timeout: time.Second}),
		hosts: dns.ParseHosts(hosts), hostNames: dns.ParseHostNames(hosts)}
	for addr, want := range map[string][2]string{
		"192.0.2.1":        {"good.example", ""},
		"::ffff:192.0.2.1": {"good.example", ""},
		"2001:db8::1":      {"six.example", ""},
		"192.0.2.2":        {"", "hostname liar.example does not resolve to address 192.0.2.2"},
		"192.0.2.3":        {"", "hostname nowhere.example does not resolve to address 192.0.2.3: Name or service not known"},
		"192.0.2.4":        {"", "numeric result 192.0.2.4 in address->name lookup for 192.0.2.4"},
		"192.0.2.5":        {"", ""},
		"192.0.2.6":        {"hosted.example", ""},
		"192.0.2.7":        {"first.example", ""},
		"192.0.2.8":        {"first.example", ""},
		"127.0.0.1":        {"localhost", ""},
		"192.0.2.50":       {"", ""},
	} {
		if a := e.nameOf(t.Context(), netip.MustParseAddr(addr).Unmap()); a.Name != want[0] || a.Warning != want[1] {
			t.Errorf("%s: %+v; want %q", addr, a, want)
		}
	}
	e.resolver = dns.New(dns.Config{Servers: []string{"127.0.0.1:1"}, Timeout: 50 * time.Millisecond, Tries: 1})
	e.hostNames[netip.MustParseAddr("192.0.2.9")] = "elsewhere.example"
	if a := e.nameOf(t.Context(), netip.MustParseAddr("192.0.2.9")); a.Name != "" || !a.Temporary || a.Warning != "hostname elsewhere.example does not resolve to address 192.0.2.9: Temporary failure in name resolution" {
		t.Errorf("%+v", a)
	}
}

// smtpd's questions are answered in any order; what is no question ends the connection.
func TestNamesAnswered(t *testing.T) {
	t.Parallel()
	x, y, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	ours, _ := ipc.FromFD(x)
	theirs, _ := ipc.FromFD(y)
	hole, err := net.ListenPacket("udp", "127.0.0.1:0") // a name server that is silent
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	c := &client{}
	c.env.Store(&environment{resolver: dns.New(dns.Config{Servers: []string{hole.LocalAddr().String()}, Timeout: time.Minute}),
		hosts: dns.ParseHosts([]byte("192.0.2.1 one.example\n")), hostNames: dns.ParseHostNames([]byte("192.0.2.1 one.example\n"))})
	over := make(chan struct{})
	go func() { c.names(theirs, maillog.New("x", maillog.Options{})); close(over) }()
	conn := ipc.New(ours, 0)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	context.AfterFunc(ctx, func() { conn.Close() })
	if _, err := conn.Greet(ipc.Hello{Protocol: proto.NamesName, Version: proto.NamesVersion}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for id, addr := range map[uint64]string{7: "192.0.2.2", 8: "192.0.2.1"} {
		conn.Send(proto.TypeNameOf, &proto.NameOf{ID: id, Addr: netip.MustParseAddr(addr)})
	}
	for _, want := range []proto.Named{{ID: 8, Name: "one.example", Claimed: "one.example"}, {ID: 7, Temporary: true}} {
		f, err := conn.Next()
		var a proto.Named
		if err != nil || a.Decode(f.Payload) != nil || a != want {
			t.Fatalf("%+v, %v; want %+v", a, err, want)
		}
		if a.ID == 8 && time.Since(began) > nameTime/2 {
			t.Error("one waited for the other")
		}
	}
	if d := time.Since(began); d < nameTime || d > 2*nameTime {
		t.Errorf("given up after %v", d)
	}
	conn.Send(proto.TypeNamed, &proto.Named{})
	<-over
}
