package ipc

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

type raw []byte

func (r raw) Append(b []byte) []byte { return append(b, r...) }

func pair(t testing.TB) (*Conn, *Conn) {
	t.Helper()
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	ends := [2]*net.UnixConn{}
	for i, fd := range []int{a, b} {
		if ends[i], err = FromFD(fd); err != nil {
			t.Fatal(err)
		}
	}
	x, y := New(ends[0], 0), New(ends[1], 0)
	t.Cleanup(func() { x.Close(); y.Close() })
	return x, y
}

func TestManySenders(t *testing.T) {
	x, y := pair(t)
	const senders, each = 16, 500
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				if err := x.Send(uint8(s+1), raw(bytes.Repeat([]byte{byte(i)}, i*7))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	next := [senders]int{}
	for range senders * each {
		f, err := y.Next()
		if err != nil {
			t.Fatal(err)
		}
		s := f.Type - 1
		i := next[s]
		if len(f.Payload) != i*7 || (i > 0 && f.Payload[0] != byte(i)) {
			t.Fatalf("sender %d, frame %d: %d bytes", s, i, len(f.Payload))
		}
		next[s]++
	}
	wg.Wait()
}

func TestDescriptors(t *testing.T) {
	x, y := pair(t)
	path := filepath.Join(t.TempDir(), "f")
	for i := range 20 {
		if err := os.WriteFile(path, []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		x.Send(1, raw("before"))
		if err := x.SendFDs(2, raw("with"), int(f.Fd())); err != nil {
			t.Fatal(err)
		}
		f.Close()
		for _, want := range []int{0, 1} {
			g, err := y.Next()
			if err != nil || len(g.FDs) != want {
				t.Fatalf("%d descriptors, %v, want %d", len(g.FDs), err, want)
			}
			if want == 1 {
				r := os.NewFile(uintptr(g.FDs[0]), "")
				b, _ := io.ReadAll(r)
				r.Close()
				if !bytes.Equal(b, []byte{byte(i)}) {
					t.Fatalf("descriptor %d shows %v", i, b)
				}
			}
		}
	}
}

func TestLimits(t *testing.T) {
	x, y := pair(t)
	if err := x.Send(1, raw(make([]byte, MaxFrame+1))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("sending too much: %v", err)
	}
	go x.Send(1, raw(make([]byte, MaxFrame)))
	if f, err := y.Next(); err != nil || len(f.Payload) != MaxFrame {
		t.Errorf("the largest frame: %d bytes, %v", len(f.Payload), err)
	}
	v, w := pair(t)
	w.TakeAtMost(100)
	go w.Send(1, raw(make([]byte, 1000)))
	if f, err := v.Next(); err != nil || len(f.Payload) != 1000 {
		t.Errorf("more is sent than is taken: %d bytes, %v", len(f.Payload), err)
	}
	go v.Send(1, raw(make([]byte, 101)))
	if _, err := w.Next(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more than is taken: %v", err)
	}
	x.Socket().Write([]byte{0xff, 0xff, 0xff, 0x7f, 1, 0})
	if _, err := y.Next(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a hostile length: %v", err)
	}
}

func TestMissingDescriptor(t *testing.T) {
	x, y := pair(t)
	x.Socket().Write([]byte{0, 0, 0, 0, 1, 1})
	if _, err := y.Next(); !errors.Is(err, ErrFrame) {
		t.Errorf("a promised descriptor that never came: %v", err)
	}
}

func TestEnd(t *testing.T) {
	x, y := pair(t)
	x.Send(1, raw("last"))
	x.Close()
	if f, err := y.Next(); err != nil || string(f.Payload) != "last" {
		t.Errorf("before the end: %q, %v", f.Payload, err)
	}
	if _, err := y.Next(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if err := x.Send(1, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("sending after Close: %v", err)
	}
	v, w := pair(t)
	v.Socket().Write([]byte{9, 0})
	v.Close()
	if _, err := w.Next(); err != io.ErrUnexpectedEOF {
		t.Errorf("cut inside a frame: %v", err)
	}
	r, u := pair(t) // r closes with something unread: the kernel makes a reset of it
	u.Send(1, raw("unread"))
	r.Close()
	if _, err := u.Next(); err != io.EOF {
		t.Errorf("after a reset: %v", err)
	}
}

func TestGreet(t *testing.T) {
	x, y := pair(t)
	go x.Greet(Hello{Protocol: "deliver", Version: 1, Data: []byte("mine")})
	if data, err := y.Greet(Hello{Protocol: "deliver", Version: 1}); err != nil || string(data) != "mine" {
		t.Errorf("greeting: %q, %v", data, err)
	}
	v, w := pair(t)
	go v.Greet(Hello{Protocol: "deliver", Version: 2})
	if _, err := w.Greet(Hello{Protocol: "deliver", Version: 1}); !errors.Is(err, ErrFrame) {
		t.Errorf("another version: %v", err)
	}
}

func TestPeer(t *testing.T) {
	x, _ := pair(t)
	p, err := PeerOf(x.Socket())
	if err != nil || int(p.UID) != unix.Getuid() || int(p.PID) != unix.Getpid() {
		t.Errorf("peer %+v, %v", p, err)
	}
}

func TestDecoderHostile(t *testing.T) {
	d := NewDecoder([]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 1})
	if v := d.Bytes(); v != nil || d.Err() == nil {
		t.Errorf("a string longer than its frame: %v, %v", v, d.Err())
	}
	d = NewDecoder([]byte{200, 1, 1})
	if n := d.Count(); n != 0 || d.Err() == nil {
		t.Errorf("a list longer than its frame: %d, %v", n, d.Err())
	}
}

func BenchmarkSend(b *testing.B) {
	x, y := pair(b)
	go func() {
		for {
			if _, err := y.Next(); err != nil {
				return
			}
		}
	}()
	p := raw(make([]byte, 4096))
	b.ReportAllocs()
	for b.Loop() {
		if err := x.Send(1, p); err != nil {
			b.Fatal(err)
		}
	}
}

// TestSendTail: what many send at once arrives whole, tails where they belong, and a tail
// may be changed once it is sent.
func TestSendTail(t *testing.T) {
	a, b := pair(t)
	const senders, each = 8, 60
	var wg sync.WaitGroup
	for n := range senders {
		wg.Go(func() {
			null, err := os.Open(os.DevNull)
			if err != nil {
				t.Error(err)
				return
			}
			defer null.Close()
			tail := make([]byte, 100<<10)
			for k := range each {
				part := tail[:(k*7919)%len(tail)]
				for i := range part {
					part[i] = byte(n + k)
				}
				head := raw{byte(n), byte(k)}
				switch {
				case k%10 == n:
					err = a.SendFDs(2, raw(append(head, part...)), int(null.Fd()))
				case k%7 == n:
					err = a.Send(1, raw(append(head, part...)))
				default:
					err = a.SendTail(1, head, part)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	next := make([]byte, senders)
	for range senders * each {
		f, err := b.Next()
		if err != nil {
			t.Fatal(err)
		}
		n, k, rest := int(f.Payload[0]), int(f.Payload[1]), f.Payload[2:]
		if next[n] != byte(k) || len(rest) != (k*7919)%(100<<10) || (len(f.FDs) == 1) != (f.Type == 2) {
			t.Fatalf("frame %d of %d: %d bytes, descriptors %v, want frame %d", k, n, len(rest), f.FDs, next[n])
		}
		for i, c := range rest {
			if c != byte(n+k) {
				t.Fatalf("frame %d of %d: byte %d is %d", k, n, i, c)
			}
		}
		f.CloseFDs()
		next[n]++
	}
	wg.Wait()
	if err := a.SendTail(1, raw{1}, make([]byte, MaxFrame)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v for a frame that is too large", err)
	}
}

// TestNoDescriptor: a descriptor that cannot be copied is the sender's to hear of, since
// nothing was sent, and the connection goes on.
func TestNoDescriptor(t *testing.T) {
	a, b := pair(t)
	if err := a.SendFDs(1, nil, -1); !errors.Is(err, ErrNoDescriptor) {
		t.Errorf("a descriptor that cannot be copied: %v", err)
	}
	if err := a.Send(2, nil); err != nil {
		t.Error(err)
	}
	if f, err := b.Next(); err != nil || f.Type != 2 {
		t.Errorf("type %d, %v", f.Type, err)
	}
}

// TestKeep: a frame whose memory is kept stays as it came, and those behind it come whole.
func TestKeep(t *testing.T) {
	x, y := pair(t)
	const frames = 300
	go func() {
		for i := range frames {
			x.Send(1, raw(bytes.Repeat([]byte{byte(i)}, 20000+i)))
		}
	}()
	type kept struct {
		payload []byte
		memory  *Memory
	}
	var held []kept
	check := func(i int, payload []byte) {
		t.Helper()
		if !bytes.Equal(payload, bytes.Repeat([]byte{byte(i)}, 20000+i)) {
			t.Fatalf("frame %d is not as it was sent", i)
		}
	}
	for i := range frames {
		f, err := y.Next()
		if err != nil {
			t.Fatal(err)
		}
		check(i, f.Payload)
		held = append(held, kept{f.Payload, y.Keep()})
		if len(held) == 20 {
			check(i-19, held[0].payload)
			held[0].memory.Release()
			held = held[1:]
		}
	}
}

// TestDescriptorsCutOff: more descriptors than there is room for. The kernel cuts them off,
// so what the frames are about is not known any more: the conversation is over, and what
// did come is closed.
func TestDescriptorsCutOff(t *testing.T) {
	for name, cut := range map[string]func(t *testing.T){
		"too few slots": func(*testing.T) {},
		"no descriptor free": func(t *testing.T) {
			var was unix.Rlimit
			if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
				t.Fatal(err)
			}
			now := was
			now.Cur = uint64(open(t))
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &was) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			x, y := pair(t)
			null, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			defer null.Close()
			fds := make([]int, 250)
			for i := range fds {
				fds[i] = int(null.Fd())
			}
			had := open(t)
			if _, _, err := x.Socket().WriteMsgUnix([]byte{0, 0, 0, 0, 1, 1}, unix.UnixRights(fds...), nil); err != nil {
				t.Fatal(err)
			}
			cut(t)
			if _, err := y.Next(); !errors.Is(err, ErrFrame) {
				t.Errorf("descriptors cut off: %v", err)
			}
			y.Close()
			if now := open(t); now >= had {
				t.Errorf("%d descriptors before and %d after", had, now)
			}
		})
	}
}

// open counts the descriptors of this process.
func open(t *testing.T) int {
	t.Helper()
	n := 0
	for fd := range 1024 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			n++
		}
	}
	return n
}
