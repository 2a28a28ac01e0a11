package e2e

import (
	"fmt"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// route is a line of main.cf that sends domains to sinks: domain, sink, domain, sink...
func route(pairs ...any) string {
	s := "transport_maps = inline:{"
	for n := 0; n < len(pairs); n += 2 {
		to := pairs[n+1]
		if x, ok := to.(*sink.Sink); ok {
			to = "smtp:" + x.NextHop()
		}
		s += fmt.Sprintf(" {%s = %s}", pairs[n], to)
	}
	return s + " }"
}

// send sends a message that must be accepted for all, and returns its queue id.
func send(t *testing.T, i *instance.Instance, l *ledger.Ledger, m *source.Message) string {
	t.Helper()
	o, err := source.Send1(i.Addr, m, l)
	if err != nil || o.QueueID == "" {
		t.Fatalf("%s: %v, %+v", m.ID, err, o)
	}
	return o.QueueID
}

// A message goes through all processes unchanged, whatever its size and the number of
// its recipients.
func TestFlow(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	far := sink.New(t, &l)
	far.Handle(false, func(m *sink.Mail) { m.Tell(&l) })
	i := instance.Started(t, "message_size_limit = 30000000", "default_destination_recipient_limit = 500", route("sink.test", far))
	many := make([]string, 1000)
	for n := range many {
		many[n] = fmt.Sprintf("r%d@sink.test", n)
	}
	s, err := source.Dial(i.Addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1 << 10, 4 << 10, 1 << 20, 20 << 20} {
		for _, to := range [][]string{many[:1], many} {
			m := source.New(fmt.Sprintf("flow-%d-%d", size, len(to)), "a@source.test", size, to...)
			if o, err := s.Send(m, &l); err != nil || len(o.Acked) != len(to) {
				t.Fatalf("%s: %v, %+v", m.ID, err, o)
			}
		}
	}
	s.Close()
	i.Await("all deliveries", func() bool { return l.Open() == 0 })
	i.Await("an empty queue", i.Drained)
	v := l.Judge()
	if err := v.Err(); err != nil || len(v.Duplicates) > 0 {
		t.Error(err, v)
	}
	if err := i.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if i.Stderr() != "" {
		t.Errorf("standard error: %s", i.Stderr())
	}
}
