package maillog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postrider/lib/mail"
)

// ordered are logs of one file whose lines keep an order, by rank.
func ordered(t *testing.T, file string) map[Rank]*Logger {
	t.Helper()
	mem, err := NewOrder()
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	logs := map[Rank]*Logger{}
	for r := Receiving; r <= Delivering; r++ {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		o, err := JoinOrder(mem, int(Places-r), r)
		if err != nil {
			t.Fatal(err)
		}
		l := New("postfix/test", Options{Buffer: 16 << 20})
		l.Join(o)
		l.Open(f, File)
		t.Cleanup(l.Close)
		logs[r] = l
	}
	return logs
}

// TestOrder: what the stations of a message's way say of it stands in the order of the
// way, however much each of them gathers before it writes.
func TestOrder(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	logs := ordered(t, file)
	const messages = 20000
	for i := range messages {
		id := mail.QueueID(fmt.Sprintf("M%d", i))
		logs[Receiving].Event(Info{Queue: id, Text: "1"})
		logs[Accepting].Event(Info{Queue: id, Text: "2"})
		logs[Queueing].Event(Info{Queue: id, Text: "3"})
		logs[Delivering].Event(Info{Queue: id, Text: "4"})
		logs[Queueing].Event(&Removed{Queue: id})
		if i%100 == 0 {
			time.Sleep(time.Millisecond) // or all is written at the end
		}
	}
	for r := Receiving; r <= Delivering; r++ {
		logs[r].Flush()
	}
	logs[Queueing].Close()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for l := range strings.Lines(string(b)) {
		_, text, _ := strings.Cut(l, "]: ")
		id, what, _ := strings.Cut(strings.TrimSpace(text), ": ")
		seen[id] += what
	}
	wrong := 0
	for id, s := range seen {
		if s != "1234removed" {
			if wrong++; wrong < 5 {
				t.Errorf("%s: %s", id, s)
			}
		}
	}
	if len(seen) != messages || wrong > 0 {
		t.Errorf("%d messages in the log, %d of them wrong", len(seen), wrong)
	}
}

// TestOrderInVain: a process that stands still, or dies with lines in hand, holds the
// others up once.
func TestOrderInVain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	logs := ordered(t, file)
	logs[Receiving].sink.ring.order.say(logs[Receiving].sink.ring.order.draw())
	logs[Delivering].sink.ring.order.say(logs[Delivering].sink.ring.order.draw())
	start := time.Now()
	for range 20 {
		logs[Queueing].Infof("goes on")
		logs[Queueing].Flush()
	}
	if d := time.Since(start); d > 10*trust {
		t.Errorf("twenty writes took %v", d)
	}
	logs[Queueing].Event(Removed{Queue: "Q"})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(glance) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "Q: removed") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no last line: %s", b)
		}
	}
}
