package local

import (
	"sync"
	"time"
)

// patience is how long a user's home may take to answer while other mail of his waits.
const patience = 500 * time.Millisecond

// gates let one helper of each uid at a time knock at the user's home (its .forward). A
// home that hangs so holds one delivery slot and not all: what comes behind waits in the
// queue.
type gates struct {
	mu sync.Mutex
	of map[uint32]*gate
}

type gate struct {
	since time.Time     // when the one who is in came
	left  chan struct{} // closed when he has left
}

// enter waits until nobody of the uid is in. It is false when somebody has been in for
// too long.
func (g *gates) enter(uid uint32) bool {
	for {
		g.mu.Lock()
		x := g.of[uid]
		if x == nil {
			if g.of == nil {
				g.of = map[uint32]*gate{}
			}
			g.of[uid] = &gate{since: time.Now(), left: make(chan struct{})}
			g.mu.Unlock()
			return true
		}
		g.mu.Unlock()
		wait := time.NewTimer(patience - time.Since(x.since))
		select {
		case <-x.left:
			wait.Stop()
		case <-wait.C:
			return false
		}
	}
}

// leave lets the next one in.
func (g *gates) leave(uid uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if x := g.of[uid]; x != nil {
		delete(g.of, uid)
		close(x.left)
	}
}

// paths lets one of us at a time write to a mailbox file, so that we do not wait for our
// own locks, which are polled.
type paths struct {
	mu sync.Mutex
	of map[string]*path
}

type path struct {
	sync.Mutex
	users int
}

// lock waits for the file; the function it returns lets the next one in.
func (p *paths) lock(name string) (unlock func()) {
	p.mu.Lock()
	x := p.of[name]
	if x == nil {
		if p.of == nil {
			p.of = map[string]*path{}
		}
		x = &path{}
		p.of[name] = x
	}
	x.users++
	p.mu.Unlock()
	x.Lock()
	return func() {
		x.Unlock()
		p.mu.Lock()
		defer p.mu.Unlock()
		if x.users--; x.users == 0 {
			delete(p.of, name)
		}
	}
}

var (
	homes     gates
	mailboxes paths
)
