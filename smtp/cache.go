package smtp

import (
	"net/netip"
	"sync"
	"time"

	"postrider/lib/mail"
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

// serverKey is the server of a session, and how it was secured and entered: one that was
// made under another policy, or with another login, is another one.
type serverKey struct {
	service string
	addr    netip.AddrPort
	unix    string // path of a socket
	policy  string
	login   login
}

type hopKey struct {
	service, nextHop string
	sender           mail.Address // where the login depends on it
}

// byHop takes a session with the server that was last good for the next hop.
func (c *cache) byHop(st *settings, hk hopKey) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.hops[hk]
	if !ok {
		return nil
	}
	var s *session
	if st.stillHolds(hk.nextHop, k.policy) {
		s = c.take(k)
	}
	if s == nil {
		delete(c.hops, hk)
	}
	return s
}

// stillHolds says whether a session under a policy would be made so today: a reload may
// have asked for more.
func (st *settings) stillHolds(nextHop, key string) bool {
	if p := st.tls.site; len(st.tls.maps) == 0 && p.level < levelVerify {
		return p.key == key
	}
	h, err := st.parseHop(nextHop)
	return err == nil && st.tls.policy(h).key == key // a list of next hops is looked up
}

// byServer takes a session with one server.
func (c *cache) byServer(k serverKey) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.take(k)
}

// take takes the session that was used last; c.mu is held.
func (c *cache) take(k serverKey) *session {
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
func (c *cache) put(st *settings, s *session, hk hopKey, demand bool) {
	now := time.Now()
	if !demand || !st.keep || st.keepIdle <= 0 || len(s.in.Buffered()) > 0 || now.Sub(s.born) >= st.reuse ||
		st.reuseCount > 0 && s.uses >= st.reuseCount || s.stopped.Load() || !c.add(st, s, hk, now) {
		s.quit()
		s.close()
	}
}

func (c *cache) add(st *settings, s *session, hk hopKey, now time.Time) bool {
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
	c.kept[s.key] = append(c.kept[s.key], s)
	if s.best && c.hops[hk] != s.key {
		c.hops[hk] = s.key
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
			s.say("QUIT\r\n")
			s.close()
		}
	}
}
