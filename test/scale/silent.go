package scale

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Silent are servers that take a connection and never say a word.
type Silent struct {
	Open, Most, Total atomic.Int64 // connections now, at once at most, so far
}

// Listen makes them answer at each address, until the test ends.
func (s *Silent) Listen(t testing.TB, addrs ...string) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	var ls []net.Listener
	for _, a := range addrs {
		l, err := net.Listen("tcp", a)
		if err != nil {
			t.Fatal(err)
		}
		ls = append(ls, l)
		wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				s.Total.Add(1)
				if n := s.Open.Add(1); n > s.Most.Load() {
					s.Most.Store(n)
				}
				mu.Lock()
				conns[c] = true
				mu.Unlock()
				wg.Go(func() {
					io.Copy(io.Discard, c)
					c.Close()
					s.Open.Add(-1)
					mu.Lock()
					delete(conns, c)
					mu.Unlock()
				})
			}
		})
	}
	t.Cleanup(func() {
		for _, l := range ls {
			l.Close()
		}
		mu.Lock()
		for c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}

// quietPort is a port that nobody listens on and that no connection is given.
func quietPort(t testing.TB) string {
	l, err := net.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", 10000+rand.IntN(20000)))
	if err != nil {
		return quietPort(t)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
