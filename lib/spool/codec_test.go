package spool

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

func sampleState() (*Message, *State) {
	m := &Message{Ref: slot.Ref{File: 1 << 33, Slot: 7}, Large: "4bL2", content: contentSpan{record: 8192},
		Envelope: &mail.Envelope{ID: "4bL2", Sender: "s@x", Size: 99, Arrival: time.UnixMicro(1700000000000001)}}
	for range 40 {
		m.Envelope.Recipients = append(m.Envelope.Recipients, mail.Recipient{Address: "r@y", Original: "o@y"})
	}
	due := time.UnixMilli(1750000000123)
	s := &State{Since: time.UnixMicro(1740000000000000), Notices: 3, Dest: 1 << 63, Expired: true,
		Groups: []Group{
			{Recipients: []uint32{2, 3, 4, 9}, Due: due.Add(time.Hour), Attempts: 4, Queue: "bulk", Status: mail.Status{DSN: "4.4.1", Text: "a", RemoteMTA: "mx", Diag: "450"}},
			{Recipients: []uint32{30}, Due: due, Attempts: 1, Status: mail.Status{Class: mail.Bounced, Text: "b"}},
			{Recipients: []uint32{31, 39}, Due: due.Add(2 * time.Hour), Status: mail.Status{DSN: "4.4.1", Text: "a", RemoteMTA: "mx", Diag: "450"}},
		}}
	s.Done.Add(0)
	s.Done.Add(20)
	return m, s
}

func TestStateRecord(t *testing.T) {
	m, s := sampleState()
	b := appendState(nil, m, s)
	if stateDue(b) != 1750000000123 || stateRef(b) != m.Ref {
		t.Errorf("head: due %d, ref %v", stateDue(b), stateRef(b))
	}
	r, err := decodeState(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r.State, *s) || r.Ref != m.Ref || r.Large != m.Large || r.Sender != "s@x" || r.Size != 99 ||
		!r.Arrival.Equal(m.Envelope.Arrival) || r.content != 8192 || len(r.Listed) != 7 {
		t.Errorf("got %+v\nwant %+v", r, s)
	}
	for i := range b {
		if _, err := decodeState(b[:i]); err == nil {
			t.Errorf("cut at %d reads as whole", i)
		}
	}
}

// More than 64 different replies share the last; none loses its recipient.
func TestStateManyReplies(t *testing.T) {
	m, _ := sampleState()
	var s State
	for n := range 200 {
		s.Groups = append(s.Groups, Group{Recipients: []uint32{uint32(n)}, Status: mail.Status{Text: string(bytes.Repeat([]byte{byte('a' + n%26)}, n+600))}})
	}
	b := appendState(nil, m, &s)
	r, err := decodeState(b)
	if err != nil || len(r.State.Groups) != 200 || r.State.Groups[199].Recipients[0] != 199 {
		t.Fatalf("%v, %d groups", err, len(r.State.Groups))
	}
	if len(b) > 64*(maxText+8)+200*16+1000 {
		t.Errorf("%d bytes", len(b))
	}
}

func FuzzState(f *testing.F) {
	m, s := sampleState()
	f.Add(appendState(nil, m, s))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeState(b); err == nil {
			r.item()
		}
	})
}

func FuzzEntries(f *testing.F) {
	m, s := sampleState()
	b := appendPut(nil, 3, place{1, 2}, place{3, 4}, 8192, "4bL2", appendState(nil, m, s))
	b = appendDone(b, m.Ref, []uint32{1, 2, 9})
	b = appendFinish(b, m.Ref, place{}, "x")
	b = appendSlots(b, entHold, 3, []uint32{1, 2, 3})
	b = appendSuspect(b, m.Ref, 2)
	b = appendSeal(b, slot.Content, 7, 9)
	b = appendFree(b, slot.State, 7)
	b = appendClock(b, 1, -1)
	b = appendCursor(b, 1, 2, 3, m.Ref, []uint32{4})
	b = appendRun(b, slot.Hold, 1, -2, 3)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		if err := decodeEntries(b, func(*entry) { n++ }); err != nil && n > 0 {
			t.Error("a bad record was followed in part")
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	q := &Queue{}
	q.empty()
	q.content(3).dead.set(70)
	q.runs[4] = &run{number: 4, minute: 5, slots: 9, length: 8192}
	q.mark(slot.Ref{File: 3, Slot: 1}, []uint32{5})
	q.strikes[slot.Ref{File: 3, Slot: 1}] = 1
	b := q.encodeCheckpoint()
	f.Add(b[len(ckptMagic) : len(b)-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		m := disk.NewModel(1)
		q := &Queue{fs: m}
		q.empty()
		all := sumUp(append([]byte(ckptMagic), b...))
		c, err := q.create("c")
		if err != nil {
			t.Fatal(err)
		}
		c.WriteAt(all, 0)
		if _, _, err := q.loadCheckpoint("c"); err != nil && len(q.runs)+len(q.contents) > 0 {
			t.Error("a bad checkpoint was followed in part")
		}
	})
}

func FuzzNumbers(f *testing.F) {
	f.Add(appendNumbers(nil, []uint32{0, 1, 2, 7, 1 << 20}))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := decoder{b: b}
		ns := d.numbers(1 << 16)
		if d.bad {
			return
		}
		e := decoder{b: appendNumbers(nil, ns)}
		if again := e.numbers(1 << 16); !reflect.DeepEqual(ns, again) {
			t.Errorf("%v became %v", ns, again)
		}
	})
}

func TestClockSlew(t *testing.T) {
	wall, mono := time.Unix(1000, 0), time.Duration(0)
	c := clock{wall: func() time.Time { return wall }, mono: func() time.Duration { return mono }}
	c.start(time.Time{}, 0)
	wall = wall.Add(-time.Minute) // drift, not a step
	last := c.spool
	for range 1000 {
		wall, mono = wall.Add(time.Second), mono+time.Second
		now, stepped := c.now()
		if stepped || now.Before(last.Add(900*time.Millisecond)) || now.After(last.Add(1100*time.Millisecond)) {
			t.Fatalf("from %v to %v", last, now)
		}
		last = now
	}
	if !last.Equal(wall) {
		t.Errorf("spool time %v, wall %v", last, wall)
	}
}
