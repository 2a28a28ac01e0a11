package e2e

import (
	"fmt"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// A mailing of 100,000 recipients is one message: each recipient has it once, and what
// comes to the same destination behind it does not wait for it.
func TestMailing(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	far := sink.New(t, &l)
	i := instance.Started(t, "smtpd_recipient_limit = 100000", route("sink.test", far))
	many := make([]string, 100000)
	for n := range many {
		many[n] = fmt.Sprintf("r%d@sink.test", n)
	}
	send(t, i, &l, source.New("mailing", "a@source.test", 2000, many...))
	send(t, i, &l, source.New("behind", "a@source.test", 2000, "x@sink.test"))
	i.AwaitLog(`to=<x@sink.test>.*status=sent`)
	if n := l.Open(); n < len(many)/4 {
		t.Errorf("only %d recipients were left when the message behind the mailing went", n)
	}
	i.Await("all deliveries", func() bool { return l.Open() == 0 })
	i.Await("an empty queue", i.Drained)
	if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 {
		t.Error(v.Err(), v)
	}
}
