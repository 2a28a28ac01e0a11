package smtp

import (
	"sync"
	"sync/atomic"
	"time"
)

// live is every session there is, so that a stop can end their waits.
type live struct {
	mu       sync.Mutex
	sessions map[*session]bool
	stopped  atomic.Bool
}

// add is false when the daemon is stopping.
func (l *live) add(s *session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped.Load() {
		return false
	}
	if l.sessions == nil {
		l.sessions = map[*session]bool{}
	}
	l.sessions[s] = true
	return true
}

func (l *live) remove(s *session) {
	l.mu.Lock()
	delete(l.sessions, s)
	l.mu.Unlock()
}

// stop ends every wait of sessions that are not past the final dot.
func (l *live) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped.Store(true)
	for s := range l.sessions {
		s.stopped.Store(true)
		if !s.pastDot.Load() {
			s.raw.SetDeadline(time.Unix(1, 0))
		}
	}
}
