package scale

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"postrider/lib/mail"
	"postrider/test/instance"
	"postrider/test/sink"
	"postrider/test/source"
)

// world is a mail system with one healthy destination, good.test. Mail for blocked.test,
// and all other mail, goes where a test says.
type world struct {
	*instance.Instance
	t    testing.TB
	good *sink.Sink
}

// dead is a next hop that refuses connections.
const dead = "[127.0.0.1]:9"

func newWorld(t testing.TB, blocked string, lines ...string) *world {
	good := sink.New(t, nil)
	lines = append([]string{
		"transport_maps = inline:{ {good.test = smtp:" + good.NextHop() + "}, {blocked.test = " + blocked + "} }",
		"relayhost = " + dead,
	}, lines...)
	return &world{instance.New(t, lines...), t, good}
}

// fill makes the backlog. The system is down.
func (w *world) fill(n int, letter func(i int) Letter) {
	w.t.Helper()
	start := time.Now()
	if err := Fill(w.Queue, n, letter); err != nil {
		w.t.Fatal(err)
	}
	w.GiveQueue()
	w.t.Logf("%d messages put into the queue in %v", n, time.Since(start).Round(time.Second/10))
}

// healthy runs a flow of so many messages a second to good.test until stop is called.
func (w *world) healthy(name string, rate float64) (f *Flow, stop func()) {
	return w.flow(name, rate, func(int) string { return "r@good.test" })
}

// flow is healthy for other recipients that come to the same sink.
func (w *world) flow(name string, rate float64, to func(n int) string) (f *Flow, stop func()) {
	f = NewFlow(name)
	w.good.Handle(false, f.Arrive)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { f.Run(ctx, w.Addr, rate, to); close(done) }()
	return f, func() { cancel(); <-done }
}

// feed sends n small messages by 10 sessions.
func (w *world) feed(n int, to func(i int) string) {
	w.t.Helper()
	var next atomic.Int64
	acked := source.Load(context.Background(), w.Addr, 10, nil, func() *source.Message {
		i := int(next.Add(1)) - 1
		if i >= n {
			return nil
		}
		return source.New(fmt.Sprint("feed", i), "s@example.com", 500, to(i))
	})
	if acked != n {
		w.t.Fatalf("%d of %d messages were accepted", acked, n)
	}
}

// until polls until the condition holds, for as long as a test of a million may take.
func (w *world) until(what string, limit time.Duration, condition func() bool) time.Duration {
	w.t.Helper()
	start := time.Now()
	for !condition() {
		if time.Since(start) > limit {
			w.t.Fatalf("waited %v in vain for %s", limit, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start)
}

// silentAddrs are so many loopback addresses with that port.
func silentAddrs(n int, port string) (addrs []string) {
	for i := range n {
		addrs = append(addrs, net.JoinHostPort(fmt.Sprintf("127.200.%d.%d", i/250, 1+i%250), port))
	}
	return addrs
}

// literal is an address of mail for that host.
func literal(host string) mail.Address { return mail.Address("r@[" + host + "]") }

func host(addr string) string { h, _, _ := net.SplitHostPort(addr); return h }

// refused is the status of letters that were tried before.
var refused = mail.Status{DSN: "4.4.1", Text: "connect to mx.blocked.test[192.0.2.1]:25: Connection refused"}
