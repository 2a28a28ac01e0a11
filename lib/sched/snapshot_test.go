package sched

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"postrider/lib/mail"
)

// FuzzDecodeSnapshot: whatever is on disk, decoding says so or gives something a
// Machine lives with, and that says the same when it is encoded.
func FuzzDecodeSnapshot(f *testing.F) {
	f.Add([]byte(`{"snapshot":"postrider scheduler","version":1,"taken":5,"transports":1,"destinations":2}
{"transport":"smtp","next":700}
{"transport":"smtp","destination":"a.example","window":20,"success":0.5,"proven":99999}
{"transport":"smtp","destination":"b.example","window":1,"dead":77,"rest":5,"failing":8,"reason":{"Text":"no"}}
`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeSnapshot(data)
		if err != nil {
			if !errors.Is(err, ErrSnapshot) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if again, err := DecodeSnapshot(s.Encode()); err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("encoded again: %v, %+v, was %+v", err, again, s)
		}
		tr := stock()
		tr.UnprovenShare, tr.DestinationRateDelay, tr.TransportRateDelay = 50, 10, 10
		m := New(Config{ActiveLimit: 10, Retry: Retry{MinBackoff: 100}, Transports: map[string]Transport{"smtp": tr}})
		m.keep = 3
		m.Restore(3, s)
		check(t, m)
		m.Admit(4, Message{ID: 1, Recipients: recipients(2, "smtp", "a.example", 0)})
		m.Tick(200) // every wait is over by now
		if len(m.timers) > 0 {
			t.Fatal("something of the snapshot lasts longer than the configuration says")
		}
		m.Admit(200, Message{ID: 2, Recipients: recipients(2, "smtp", "a.example", 0)})
		check(t, m)
	})
}

func TestSnapshotRefused(t *testing.T) {
	good := `{"snapshot":"postrider scheduler","version":1,"taken":0,"transports":0,"destinations":1}` + "\n"
	line := `{"transport":"smtp","destination":"a.example","window":2}` + "\n"
	if s, err := DecodeSnapshot([]byte(good + line)); err != nil || len(s.Destinations) != 1 {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"empty": "", "cut": good, "half a line": good + line[:20], "more": good + line + line,
		"other version": strings.Replace(good, `"version":1`, `"version":2`, 1) + line,
		"other file":    "{}\n" + line,
		"window":        good + strings.Replace(line, ":2}", ":0}", 1),
		"credit":        good + strings.Replace(line, ":2}", `:2,"success":99}`, 1),
		"time":          good + strings.Replace(line, ":2}", `:2,"dead":-1}`, 1),
		"long name":     good + strings.Replace(line, "a.example", strings.Repeat("a", 1001), 1),
		"long line":     good + line[:len(line)-1] + strings.Repeat(" ", 1<<16) + "\n",
		"large":         strings.Repeat(" ", 9<<20),
	} {
		if _, err := DecodeSnapshot([]byte(data)); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A snapshot is bounded in destinations and bytes, and holds those with mail and
// then the last used ones.
func TestSnapshotBound(t *testing.T) {
	tr := stock()
	tr.Slots, tr.UnprovenShare = 0, 0
	m := New(Config{Transports: map[string]Transport{"smtp": tr}, Retry: Retry{MinBackoff: time.Hour}})
	reason := mail.Status{Text: strings.Repeat("\x01é", 2000), Diag: strings.Repeat("x", 4000)}
	for i := range 700 {
		for range 3 {
			m.Admit(Time(i), Message{ID: MsgID(i), Recipients: recipients(1, "smtp", fmt.Sprintf("%d.%s", i, strings.Repeat("d", 900)), 0)})
			for a, ok := m.Next(); ok; a, ok = m.Next() {
				m.Result(Time(i), a.Entry, HopResult{Reason: reason})
			}
		}
	}
	data := m.Snapshot(0).Encode()
	s, err := DecodeSnapshot(data)
	if err != nil || len(s.Destinations) != 700 || len(s.Destinations[0].Reason.Text) > maxText || len(data) > 700*6000 {
		t.Fatalf("%v, %d destinations in %d bytes", err, len(s.Destinations), len(data))
	}
	for range 10 {
		s.Destinations = append(s.Destinations, s.Destinations...)[:min(2*len(s.Destinations), 20000)]
	}
	if data = s.Encode(); len(data) > maxSnapshot {
		t.Fatalf("%d bytes", len(data))
	}
	if cut, err := DecodeSnapshot(data); err != nil || !reflect.DeepEqual(cut.Destinations, s.Destinations[:len(cut.Destinations)]) {
		t.Fatalf("what fits is not the beginning: %v", err)
	}

	m.keep = 3
	m.Admit(0, Message{ID: 1000, Recipients: recipients(1, "smtp", "busy.example", 0)})
	m.Admit(0, Message{ID: 1001, Recipients: recipients(1, "smtp", "busy.example", 0)})
	m.Admit(0, Message{ID: 1002, Recipients: recipients(1, "smtp", "a.example", 0)})
	for _, hop := range []string{"a.example", "busy.example"} {
		m.dest(m.transports["smtp"], &Recipient{NextHop: hop}).window = 9
	}
	s = m.Snapshot(0)
	if len(s.Destinations) != 3 || s.Destinations[0].Key != "busy.example" || s.Destinations[1].Key != "a.example" || s.Destinations[2].Key[:4] != "699." {
		t.Fatalf("not the most and the last used: %.200v", s)
	}
	m = New(m.cfg)
	m.keep = 2
	m.Restore(0, s)
	if d := m.Destinations(); len(d) != 2 || d[0].Name != "a.example" || d[1].Name != "busy.example" {
		t.Fatalf("the last used did not remain: %.200v", d)
	}
	// What comes now pushes out the least used of them.
	m.Admit(0, Message{ID: 1, Recipients: recipients(1, "smtp", "z.example", 0)})
	a, _ := m.Next()
	m.Result(0, a.Entry, HopResult{OK: true})
	if d := m.Destinations(); len(d) != 2 || d[0].Name != "busy.example" || d[1].Name != "z.example" {
		t.Fatalf("the most used was forgotten: %.200v", d)
	}
}

// What a Machine knows already is newer than the snapshot, and a clock that ran
// backwards or far ahead makes nothing last longer.
func TestRestoreKnown(t *testing.T) {
	tr := stock()
	m := New(Config{ActiveLimit: 9, Transports: map[string]Transport{"smtp": tr}, Retry: Retry{MinBackoff: 300}})
	m.Admit(0, Message{ID: 1, Recipients: recipients(1, "smtp", "a.example", 0)})
	m.Restore(10, Snapshot{Taken: 1 << 62, Destinations: []DestinationState{
		{Transport: "smtp", Key: "a.example", Window: 9}, {Transport: "smtp", Key: "b.example", Window: 9, Dead: 1 << 60},
		{Transport: "smtp", Key: "b.example", Window: 8}, {Transport: "none", Key: "b.example", Window: 8},
	}})
	check(t, m)
	d := m.Destinations()
	if len(d) != 2 || d[0].Window != 5 || d[1].Window != 8 && d[1].Until != 310 {
		t.Fatalf("%+v", d)
	}
}
