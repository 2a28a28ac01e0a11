package smtpd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/submit"
	"postrider/lib/transcript"
)

// server is all the sessions of the process, of whatever service.
type server struct {
	log        *maillog.Logger
	number, of int // which smtpd of how many
	ids        mail.IDs
	submit     submit.Client
	names      names
	notices    transcript.Sender
	full       fullKeys       // of quotas
	sessions   sync.WaitGroup // and those who wait for new ones
	stopping   chan struct{}  // closed by stop

	mu       sync.Mutex
	services map[string]*service
	fronts   map[*front]struct{}
	clients  map[netip.Addr]int // sessions by client
	slots    slots
}

// service is an inet line of master.cf that runs smtpd: a listener whose connections
// are fronts.
type service struct {
	server   *server
	name     string
	line     string // its name in master.cf
	listener net.Listener
	socket   listening // of it
	log      *maillog.Logger
	set      atomic.Pointer[settings]
	gate     gate
	warned   time.Time // of accept, whose goroutine alone has it
}

func newServer(log *maillog.Logger) *server {
	s := &server{
		log: log, of: 1,
		ids:      mail.IDs{Number: uint64(os.Getpid())},
		stopping: make(chan struct{}),
		services: map[string]*service{},
		fronts:   map[*front]struct{}{},
		clients:  map[netip.Addr]int{},
	}
	s.notices = transcript.Sender{Submit: &s.submit, IDs: &s.ids}
	return s
}

// listen serves a listener, or gives new settings to one that is being served: sessions
// that are open keep theirs. maxproc is how many sessions all smtpd together may have.
func (s *server) listen(name string, l net.Listener, log *maillog.Logger, set *settings, maxproc int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.services[name]
	known := v != nil && v.listener == l
	if !known {
		if v != nil {
			v.gate.shut()
			v.socket.Close()
		}
		line, _, _ := strings.Cut(name, "/inet")
		v = &service{server: s, name: name, line: line, listener: l, socket: listenOn(l), log: log}
		s.services[name] = v
	}
	v.set.Store(set)
	v.gate.limit((maxproc + s.of - 1) / s.of)
	if !known {
		s.sessions.Go(v.serve)
	}
}

// drop ends the services that are not in keep; their sessions go on.
func (s *server) drop(keep map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, v := range s.services {
		if !keep[name] {
			v.gate.shut()
			v.socket.Close()
			delete(s.services, name)
		}
	}
}

// stop takes no new sessions and ends each at its next command boundary outside a
// transaction.
func (s *server) stop() {
	close(s.stopping)
	s.drop(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.fronts {
		// Ends its wait for a command; it sees that we are stopping (front.waiting).
		f.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

func (s *server) stopped() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// wait waits until the last session has ended; at the end of ctx it cuts them off.
func (s *server) wait(ctx context.Context) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		s.sessions.Wait()
	}()
	select {
	case <-over:
		return
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.fronts {
		f.raw.Close()
	}
}

// serve takes connections, each for a session of its own, until the listener is closed.
func (v *service) serve() {
	for v.gate.enter() {
		conn, err := v.accept()
		if err != nil {
			v.gate.leave()
			if !v.server.stopped() {
				v.log.Infof("service %s: no longer listening: %v", v.name, err)
			}
			return
		}
		v.server.sessions.Go(newFront(v, conn).session)
	}
}

// accept returns the next connection. Its error is the end of the listener.
func (v *service) accept() (net.Conn, error) {
	for {
		conn, err := v.socket.Accept()
		if err == nil || errors.Is(err, net.ErrClosed) {
			return conn, err
		}
		// Whatever it is, descriptors or memory, it says nothing about the listener.
		if now := time.Now(); now.Sub(v.warned) > time.Minute {
			v.warned = now
			v.log.Warnf("service %s: %v", v.name, err)
		}
		time.Sleep(acceptPause)
	}
}

// acceptPause is how long a failed accept is let rest, for others to give back what it
// had not got.
const acceptPause = 100 * time.Millisecond

// add counts a session in and gives it the number of its slot, by which the log names
// it. It returns how many sessions of that client there are.
func (s *server) add(f *front) (slot, sessions int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fronts[f] = struct{}{}
	s.clients[f.addr]++
	slot = s.slots.take()
	return slot, s.clients[f.addr]
}

// remove counts a session out.
func (s *server) remove(f *front) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.fronts, f)
	if s.clients[f.addr]--; s.clients[f.addr] <= 0 {
		delete(s.clients, f.addr)
	}
}

// vacate makes a slot's number free for another session, once the log is done with it.
func (s *server) vacate(slot int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots.free(slot)
}

// slots gives the smallest free numbers, from 0.
type slots struct{ used []bool }

func (s *slots) take() int {
	for i, u := range s.used {
		if !u {
			s.used[i] = true
			return i
		}
	}
	s.used = append(s.used, true)
	return len(s.used) - 1
}

func (s *slots) free(i int) { s.used[i] = false }

// gate lets in a limited number at once.
type gate struct {
	mu   sync.Mutex
	wake chan struct{} // closed when something has changed for those who wait
	n    int
	max  int // 0: no limit
	over bool
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.over && g.max > 0 && g.n >= g.max {
		if g.wake == nil {
			g.wake = make(chan struct{})
		}
		wake := g.wake
		g.mu.Unlock()
		<-wake
		g.mu.Lock()
	}
	if g.over {
		return false
	}
	g.n++
	return true
}

func (g *gate) leave() { g.change(func() { g.n-- }) }

func (g *gate) limit(max int) { g.change(func() { g.max = max }) }

func (g *gate) shut() { g.change(func() { g.over = true }) }

func (g *gate) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	if g.wake != nil {
		close(g.wake)
		g.wake = nil
	}
}
