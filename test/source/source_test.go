package source_test

import (
	"fmt"
	"testing"

	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// The source and the sink must agree with each other before they judge anybody else.
func TestSourceAndSink(t *testing.T) {
	var l ledger.Ledger
	s := sink.New(t, &l)
	s.Do(sink.Behaviour{
		Rcpt: func(_, r string) string {
			if r == "no@sink.test" {
				return "550 5.1.1 no"
			}
			return ""
		},
		Dot: func(m *sink.Mail) string {
			switch m.ID {
			case "m3":
				return "451 4.3.0 later"
			case "m4":
				return sink.LoseReply
			}
			return ""
		},
	})
	for i, size := range []int{1000, 100_000, 1000, 1000} {
		m := source.New(fmt.Sprintf("m%d", i+1), "a@source.test", size, "yes@sink.test", "no@sink.test")
		o, _ := source.Send1(s.Addr, m, &l)
		if o.Refused["no@sink.test"] == "" {
			t.Errorf("%s: %+v", m.ID, o)
		}
	}
	v := l.Judge()
	if v.Err() != nil || v.Acked != 2 || v.Delivered != 3 || len(v.Recovered) != 1 {
		t.Errorf("%v, %v", v, v.Err())
	}
	if sessions, _, mails := s.Counts(); sessions != 4 || mails != 3 {
		t.Errorf("%d sessions, %d mails", sessions, mails)
	}
}
