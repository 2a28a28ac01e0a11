package cleanup

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postrider/lib/ipc"
)

// direct serves a socket like public/submit.
func (r *rig) direct() (v *receiver, path string) {
	path = filepath.Join(r.dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		r.t.Fatal(err)
	}
	s := *r.s.settings.Load()
	s.submitters = []string{"static:anyone"}
	r.s.settings.Store(&s)
	v = newReceiver(r.s, r.s.log.Named("postfix/pickup"), func() string { return "alice:x:4711:1::/:\n" })
	done := make(chan struct{})
	go func() { defer close(done); v.listen(l) }()
	r.t.Cleanup(func() { l.Close(); <-done; v.stop() })
	return v, path
}

// tell sends b and returns the answer.
func tell(t *testing.T, path string, b []byte, end bool) string {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	c.Write(b)
	if !end {
		return ""
	}
	c.(*net.UnixConn).CloseWrite()
	answer, _ := io.ReadAll(c) // a reset may follow it: not all was read
	return string(answer)
}

// TestC68Direct: what comes without the set-gid program is as hostile as a file in
// maildrop/: only a whole message is taken, wherever it is cut and whatever is in it.
func TestC68Direct(t *testing.T) {
	r := newRig(t, "", nil)
	v, path := r.direct()
	whole := submission(t, "Subject: x\n\nbody\n", "bob")
	for n := range whole {
		if a := tell(t, path, whole[:n], true); !strings.HasPrefix(a, "65 bad input: ") {
			t.Fatalf("cut at %d: %q", n, a)
		}
		tell(t, path, whole[:n], false) // killed there
	}
	for name, b := range map[string][]byte{
		"no recipients": submission(t, "x"), "text": []byte("From: me\n\nhello\n"), "a byte too much": append(whole[:len(whole):len(whole)], 0),
		"record type 0": append([]byte("\x7fPRDROP\x01"), 0, 0), "huge record": append([]byte("\x7fPRDROP\x01"), 'S', 255, 255, 255, 255, 15),
	} {
		if a := tell(t, path, b, true); !strings.HasPrefix(a, "65 ") {
			t.Errorf("%s: %q", name, a)
		}
	}
	if a := tell(t, path, submission(t, strings.Repeat("line\n", 300<<10), "bob"), true); !strings.HasPrefix(a, "69 message file too big") {
		t.Errorf("too big: %q", a)
	}
	if a := tell(t, path, whole, true); !strings.HasPrefix(a, "0 ") {
		t.Errorf("a good one: %q", a)
	}
	v.stop()
	if got := journaled(t, r.dir); len(got) != 1 {
		t.Errorf("%d messages, not 1", len(got))
	}
	if n := r.s.buffered.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

// TestReceiverLimits: a user has so many connections, all users together so many, root
// and the owner as many as they like; nobody comes in after the end.
func TestReceiverLimits(t *testing.T) {
	r := newRig(t, "", nil)
	v := newReceiver(r.s, r.s.log, nil)
	in := func(uid uint32) int {
		n := 0
		for ; n < 1000; n++ {
			if !v.enter(&net.UnixConn{}, ipc.Peer{UID: uid}) {
				break
			}
		}
		return n
	}
	if n := in(1_000_001); n != perUser {
		t.Errorf("%d of one user", n)
	}
	for uid := uint32(1_000_002); uid < 1_000_005; uid++ {
		in(uid)
	}
	if n := in(1_000_006); n != 0 {
		t.Errorf("%d more than for all", n)
	}
	if n := in(0); n != 1000 {
		t.Errorf("root: %d", n)
	}
	for range perUser {
		v.leave(&net.UnixConn{}, ipc.Peer{UID: 1_000_001})
	}
	if n := in(1_000_006); n != perUser {
		t.Errorf("%d after others left", n)
	}
	v.stopped = true
	if n := in(0); n != 0 {
		t.Errorf("%d after the end", n)
	}
}

// TestReceiverStops: a stop waits for nobody who is still writing.
func TestReceiverStops(t *testing.T) {
	r := newRig(t, "", nil)
	v, path := r.direct()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(submission(t, "Subject: x\n\nbody\n", "bob")[:40])
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		v.mu.Lock()
		n := len(v.conns)
		v.mu.Unlock()
		if n == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("not accepted")
		}
	}
	began := time.Now()
	v.stop()
	if time.Since(began) > quietTime/2 {
		t.Error("it waited")
	}
}
