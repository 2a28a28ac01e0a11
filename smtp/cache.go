package smtp

import (
	"net/netip"
	"sync"
	"time"
)

// maxKept is how many idle sessions are kept at most, and of how many next hops
// the last server is known.
const (
	maxKept = 500
	maxHops = 5000
	// sweepEvery is how late the end of an idle session may be.
	sweepEvery = 250 * time.Millisecond
)

// cache keeps sessions for the next message to the same server, for a moment only
// (smtp_connection_cache_time_limit). A service uses its own sessions alone.
type cache struct {
	mu    sync.Mutex
	kept  map[serverKey][]*session // the last used last
	hops  map[hopKey]serverKey     // the server of best preference that took mail for a next hop
	count int
	timer *time.Timer
	off   bool
}

type serverKey struct {
	service string
	addr    netip.AddrPort
}

type hopKey struct{ service, nextHop string }

// byHop takes a session with the server that was last good for the next hop.
func (c *cache) byHop(st *settings, nextHop string) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.hops[hopKey{st.service, nextHop}]
	if !ok {
		return nil
	}
	s := c.take(st, k)
	if s == nil {
		delete(c.hops, hopKey{st.service, nextHop})
	}
	return s
}

// byServer takes a session with one server.
func (c *cache) byServer(st *settings, addr netip.AddrPort) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.take(st, serverKey{st.service, addr})
}

// take takes the session that was used last; c.mu is held.
func (c *cache) take(st *settings, k serverKey) *session {
	list := c.kept[k]
	if len(list) == 0 {
		return nil
	}
	s := list[len(list)-1]
	list[len(list)-1] = nil
	c.kept[k] = list[:len(list)-1]
	c.count--
	return s
}

// put keeps a session whose last transaction ended properly, when its destination is in
// demand, or takes leave.
func (c *cache) put(st *settings, s *session, nextHop string, demand bool) {
	now := time.Now()
	if !demand || !st.keep || st.keepIdle <= 0 || len(s.in.Buffered()) > 0 || now.Sub(s.born) >= st.reuse ||
		st.reuseCount > 0 && s.uses >= st.reuseCount || s.stopped.Load() || !c.add(st, s, nextHop, now) {
		s.quit()
		s.close()
	}
}

func (c *cache) add(st *settings, s *session, nextHop string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.off || c.count >= maxKept {
		return false
	}
	if c.kept == nil {
		c.kept = map[serverKey][]*session{}
	}
	if c.hops == nil || len(c.hops) >= maxHops {
		c.hops = map[hopKey]serverKey{}
	}
	s.until = now.Add(st.keepIdle)
	k := serverKey{st.service, s.addr}
	c.kept[k] = append(c.kept[k], s)
	if s.best {
		if hk := (hopKey{st.service, nextHop}); c.hops[hk] != k {
			c.hops[hk] = k
		}
	}
	c.count++
	if c.timer == nil {
		c.timer = time.AfterFunc(sweepEvery, c.sweep)
	}
	return true
}

// sweep ends what has been idle too long. It runs again while anything is kept.
func (c *cache) sweep() {
	var old []*session
	now := time.Now()
	c.mu.Lock()
	for k, list := range c.kept {
		n := 0 // the oldest stand in front
		for n < len(list) && !list[n].until.After(now) {
			n++
		}
		old = append(old, list[:n]...)
		if n == len(list) {
			delete(c.kept, k)
		} else if n > 0 {
			c.kept[k] = append(list[:0:0], list[n:]...)
		}
	}
	c.count -= len(old)
	if c.count == 0 || c.off {
		c.timer = nil
		clear(c.hops)
	} else {
		c.timer.Reset(sweepEvery)
	}
	c.mu.Unlock()
	for _, s := range old {
		s.leave()
	}
}

// leave ends an idle session. Waiting for the answer to QUIT, where that is asked
// for, must not hold up the others.
func (s *session) leave() {
	if s.st.skipQuitResponse {
		s.quit()
		s.close()
		return
	}
	go func() {
		s.quit()
		s.close()
	}()
}

// close ends all sessions and keeps none from now on.
func (c *cache) close() {
	c.mu.Lock()
	c.off = true
	kept := c.kept
	c.kept, c.hops, c.count = nil, nil, 0
	c.mu.Unlock()
	for _, list := range kept {
		for _, s := range list {
			s.conn.SetWriteDeadline(time.Now().Add(time.Second))
			s.conn.Write([]byte("QUIT\r\n"))
			s.close()
		}
	}
}
