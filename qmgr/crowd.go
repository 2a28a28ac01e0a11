package qmgr

import (
	"errors"
	"sync"
	"time"
)

// Limits of ordinary users at public/qmgr: all but root and the owner of the mail system,
// who always get in.
const (
	connectionsPerUser = 64
	connectionsOfUsers = 256
	userRequestMax     = 32 << 10 // bytes of a request: some 2,000 ids

	turnTime   = time.Minute           // to wait for one's turn
	listTime   = 10 * time.Minute      // for a whole listing, however slowly it is read
	listPause  = 20 * time.Millisecond // between two requests of a user
	flushPause = time.Second           // the same after a flush
	share      = 4                     // one part in so many of qmgr's time is theirs, all together

	refusalPause = 500 * time.Microsecond // at most 2,000 a second cost four percent of a processor
	refusalLog   = time.Minute            // between lines about refusals
)

// crowd are the ordinary users at public/qmgr. Mail must flow whatever they ask and
// however often, so each has a bounded number of connections; one request of a user is
// answered at a time, the others wait; and the work for all of them together gets a
// bounded share of the time.
type crowd struct {
	mu    sync.Mutex
	users map[uint32]*user
	all   int
	told  time.Time // of the last refusal that was logged

	desk chan struct{} // full while there is work for one of them; made by the first
	next time.Time     // when there may be more
}

// user is one of them. A nil user is somebody without limits.
type user struct {
	crowd *crowd
	uid   uint32
	n     int           // connections
	turn  chan struct{} // full while a request is answered
}

// enter counts a connection in; nil when it is one too many.
func (c *crowd) enter(uid uint32) *user {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.users[uid]
	if u == nil {
		u = &user{crowd: c, uid: uid, turn: make(chan struct{}, 1)}
	}
	if u.n >= connectionsPerUser || c.all >= connectionsOfUsers {
		return nil
	}
	if c.users == nil {
		c.users, c.desk = map[uint32]*user{}, make(chan struct{}, 1)
	}
	c.users[uid] = u
	u.n++
	c.all++
	return u
}

// tell says whether a refusal should be logged now.
func (c *crowd) tell(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.told) < refusalLog {
		return false
	}
	c.told = now
	return true
}

// leave counts a connection out.
func (u *user) leave() {
	if u == nil {
		return
	}
	c := u.crowd
	c.mu.Lock()
	defer c.mu.Unlock()
	u.n--
	c.all--
	c.forget(u)
}

// forget drops a user of whom nothing is left. c.mu is held.
func (c *crowd) forget(u *user) {
	if u.n == 0 && len(u.turn) == 0 && c.users[u.uid] == u {
		delete(c.users, u.uid)
	}
}

// take waits for the user's turn; false when it does not come in time.
func (u *user) take() bool {
	if u == nil {
		return true
	}
	late := time.NewTimer(turnTime)
	defer late.Stop()
	select {
	case u.turn <- struct{}{}:
		return true
	case <-late.C:
		return false
	}
}

// done gives the turn to the user's next request after a pause, in which whoever asks
// in a loop uses no time of ours.
func (u *user) done(pause time.Duration) {
	if u == nil {
		return
	}
	time.AfterFunc(pause, func() {
		u.crowd.mu.Lock()
		defer u.crowd.mu.Unlock()
		<-u.turn
		u.crowd.forget(u)
	})
}

// errSlow ends a listing that nobody seems to read.
var errSlow = errors.New("not read within ten minutes")

// work does a piece of what the user asked for. began is when he began to ask.
func (u *user) work(began time.Time, f func()) error {
	if u == nil {
		f()
		return nil
	}
	c := u.crowd
	c.desk <- struct{}{}
	defer func() { <-c.desk }()
	time.Sleep(time.Until(c.next))
	start := time.Now()
	if start.Sub(began) > listTime {
		return errSlow
	}
	f()
	end := time.Now()
	c.next = end.Add((share - 1) * end.Sub(start))
	return nil
}
