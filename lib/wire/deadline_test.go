package wire

import (
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// timedConn knows its read deadline and fails once it has passed.
type timedConn struct {
	fakeConn
	until time.Time
	set   int
}

func (c *timedConn) SetReadDeadline(t time.Time) error { c.until = t; c.set++; return nil }
func (c *timedConn) Read(p []byte) (int, error) {
	if !time.Now().Before(c.until) {
		return 0, os.ErrDeadlineExceeded
	}
	return c.fakeConn.Read(p)
}

// TestDeadline: every wait has its time, and little more; a dialogue of quick answers sets
// the deadline once a second; one that somebody else has set is replaced after its error.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &timedConn{fakeConn: fakeConn{piece: 10}}
		r := NewReader(c, 100)
		fill := func(want error) {
			t.Helper()
			c.in = append(c.in, "x\n"...)
			_, err := r.ReadLine(50)
			if err != want {
				t.Fatalf("%v, want %v", err, want)
			}
			if left := time.Until(c.until); err == nil && (left < r.Timeout || left > r.Timeout+min(time.Second, r.Timeout/16)) {
				t.Fatalf("%v left of %v", left, r.Timeout)
			}
		}
		r.Timeout = 300 * time.Second
		for range 1000 {
			fill(nil)
			time.Sleep(10 * time.Millisecond)
		}
		if c.set < 9 || c.set > 11 {
			t.Errorf("the deadline was set %d times in 10 s", c.set)
		}
		r.Timeout = 8 * time.Second
		fill(nil)
		r.Timeout = 300 * time.Second
		fill(nil)
		c.until = time.Unix(1, 0) // a knock
		_, err := r.Window()
		if err != os.ErrDeadlineExceeded {
			t.Fatal(err)
		}
		fill(nil)
		c.in = nil
		if _, err := r.Window(); err != io.EOF {
			t.Fatal(err)
		}
	})
}
