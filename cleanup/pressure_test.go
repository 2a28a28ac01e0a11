package cleanup

import (
	"fmt"
	"testing"
	"time"

	"postrider/lib/journal"
	"postrider/lib/mail"
)

// The heaviest is slowed first, the more the fuller; the flood of a while ago is forgotten.
func TestHeavy(t *testing.T) {
	var h heavy
	now := time.Unix(1e9, 0)
	if d := h.wait(now, "flood", 1000, 50, 100); d != 0 {
		t.Errorf("%v at half", d)
	}
	var flood, light time.Duration
	for i := range 200 {
		flood = h.wait(now, "flood", 10000, 90, 100)
		if i%20 == 0 {
			light = h.wait(now, fmt.Sprintf("light%d", i%5), 1000, 90, 100)
		}
		now = now.Add(10 * time.Millisecond)
	}
	if flood < time.Second || light > flood/20 {
		t.Errorf("the flood waits %v, the others %v", flood, light)
	}
	if d := h.wait(now, "flood", 10000, 60, 100); d >= flood/2 {
		t.Errorf("%v when it is less full, %v before", d, flood)
	}
	now = now.Add(time.Hour)
	h.wait(now, "other", 1000, 90, 100)
	if d := h.wait(now, "flood", 10, 90, 100); d > 100*time.Millisecond {
		t.Errorf("an hour later the flood still waits %v", d)
	}
}

// A journal that fills makes senders wait before it refuses.
func TestSlowedBeforeFull(t *testing.T) {
	r := newRig(t, "", func(o *journal.Options) { o.SizeLimit = 2 * fileSize })
	c := r.client("smtpd.0")
	var slowest time.Duration
	for i := 0; ; i++ {
		env := envelope(i, "a@example.org")
		env.Client = mail.Client{Addr: "192.0.2.1"}
		begin := time.Now()
		err := send(c, env, false, fmt.Sprintf("Message-Id: <%d@x>\r\n\r\n", i)+text(90<<10))
		if err != nil {
			wantRefused(t, err, 452, "4.3.1", "Insufficient system storage")
			break
		}
		slowest = max(slowest, time.Since(begin))
		if i > 1000 {
			t.Fatal("never full")
		}
	}
	if slowest < 100*time.Millisecond {
		t.Errorf("nobody waited more than %v before the refusal", slowest)
	}
}
