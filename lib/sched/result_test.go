package sched

import "testing"

// An agent that dies says nothing of the hop: no destination is dead for it.
func TestUnknown(t *testing.T) {
	m := New(Config{ActiveLimit: 100, Transports: map[string]Transport{
		"smtp": {Slots: 10, InitialConcurrency: 5, ConcurrencyLimit: 20, CohortLimit: 1,
			PositiveFeedback: mustFeedback(t, "1"), NegativeFeedback: mustFeedback(t, "1")}}})
	m.TransportUp(0, "smtp")
	for id := range MsgID(20) {
		m.Admit(0, Message{ID: id + 1, Recipients: []Recipient{{Transport: "smtp", NextHop: "d.test"}}})
	}
	started := 0
	for {
		a, ok := m.Next()
		if !ok {
			break
		}
		switch a.Kind {
		case Deliver:
			started++
			m.Result(0, a.Entry, HopResult{Unknown: true})
		case Suspend:
			t.Fatalf("suspended after %d deaths: %s", started, a.Reason.Text)
		}
	}
	if started != 20 {
		t.Errorf("%d deliveries", started)
	}
}

func mustFeedback(t *testing.T, text string) Feedback {
	f, err := ParseFeedback(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
