package cleanup

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"postrider/lib/config"
	"postrider/lib/daemon"
	"postrider/lib/ipc"
	"postrider/lib/mail"
	"postrider/lib/maildrop"
	"postrider/lib/maillog"
	"postrider/lib/suspect"
	"postrider/lib/sysexits"
)

// Limits at public/submit. root and the owner of the mail system are not counted.
const (
	perUser      = 64
	ofUsers      = 256
	receiveTime  = 10 * time.Minute // for a message
	quietTime    = time.Minute      // between two pieces of it
	refusalPause = 500 * time.Microsecond
)

// receiver takes messages at public/submit from those who cannot write to maildrop/: who
// is told by the kernel who they are, and answered when the message is durable.
type receiver struct {
	s      *service
	log    *maillog.Logger // with pickup's tag
	passwd func() string

	mu      sync.Mutex
	users   map[uint32]int // connections
	all     int
	conns   map[*net.UnixConn]bool // that are read from
	stopped bool
	running sync.WaitGroup
}

func newReceiver(s *service, log *maillog.Logger, passwd func() string) *receiver {
	return &receiver{s: s, log: log, passwd: passwd, users: map[uint32]int{}, conns: map[*net.UnixConn]bool{}}
}

// listen serves the socket until it is closed.
func (v *receiver) listen(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		sock, ok := c.(*net.UnixConn)
		if err != nil || !ok {
			time.Sleep(100 * time.Millisecond) // out of descriptors: let others close some
			continue
		}
		peer, err := ipc.PeerOf(sock)
		if err != nil || !v.enter(sock, peer) {
			answer(sock, sysexits.TempFail, "too many submissions at once")
			sock.Close()
			time.Sleep(refusalPause)
			continue
		}
		go func() {
			defer v.leave(sock, peer)
			daemon.Guard(func() { v.serve(sock, peer) })
		}()
	}
}

// stop ends what is not complete, waits for the answers to what is, and takes no more.
func (v *receiver) stop() {
	v.mu.Lock()
	v.stopped = true
	for sock := range v.conns {
		sock.SetReadDeadline(time.Unix(1, 0))
	}
	v.mu.Unlock()
	v.running.Wait()
}

func unlimited(p ipc.Peer) bool { return p.UID == 0 || int(p.UID) == os.Getuid() }

// enter counts a connection in; false when it is one too many.
func (v *receiver) enter(sock *net.UnixConn, p ipc.Peer) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stopped || !unlimited(p) && (v.users[p.UID] >= perUser || v.all >= ofUsers) {
		return false
	}
	if !unlimited(p) {
		v.users[p.UID]++
		v.all++
	}
	v.conns[sock] = true
	v.running.Add(1)
	return true
}

func (v *receiver) leave(sock *net.UnixConn, p ipc.Peer) {
	sock.Close()
	v.mu.Lock()
	defer v.mu.Unlock()
	if !unlimited(p) {
		v.all--
		if v.users[p.UID]--; v.users[p.UID] == 0 {
			delete(v.users, p.UID)
		}
	}
	delete(v.conns, sock)
	v.running.Done()
}

// answer says what became of a message, in postdrop's words. Nobody need hear it.
func answer(sock *net.UnixConn, code int, text string) {
	sock.SetWriteDeadline(time.Now().Add(quietTime))
	fmt.Fprintf(sock, "%d %s\n", code, text)
}

// serve takes one message.
func (v *receiver) serve(sock *net.UnixConn, p ipc.Peer) {
	code, text := v.take(sock, p)
	answer(sock, code, text)
}

// patient reads from a user who has to go on.
type patient struct {
	*net.UnixConn
	v   *receiver
	end time.Time
}

func (r patient) Read(p []byte) (int, error) {
	r.v.mu.Lock()
	if !r.v.stopped {
		next := time.Now().Add(quietTime)
		if next.After(r.end) {
			next = r.end
		}
		r.SetReadDeadline(next)
	}
	r.v.mu.Unlock()
	return r.UnixConn.Read(p)
}

// take reads a message and makes it durable. It returns an exit code, and the queue id or
// what is wrong.
func (v *receiver) take(sock *net.UnixConn, p ipc.Peer) (code int, text string) {
	s := v.s
	set := s.settings.Load()
	name := func() string { return config.UserName(v.passwd(), p.UID) }
	if !unlimited(p) && !config.ListsUser(set.submitters, name) && name() != set.owner {
		return sysexits.NoPerm, fmt.Sprintf("User %s(%d) is not allowed to submit mail", name(), p.UID)
	}
	rd := s.newReader()
	defer func() { rd.end(); rd.note.Close() }()
	x := rd.name("submission of", fmt.Sprint("uid ", p.UID))
	if x.Count >= suspect.Guilty && s.now().Sub(x.Last) < refuseTime {
		return sysexits.TempFail, "a message of this user ended cleanup: try again later"
	}

	in := maildrop.NewReader(patient{sock, v, s.now().Add(receiveTime)})
	sub, err := in.Submission()
	if err != nil {
		return inputFault(err)
	}
	if len(sub.Recipients) == 0 {
		return sysexits.DataErr, "no recipients specified"
	}
	rd.begin(x)
	m := s.submitted(sub, p.UID, mail.Replaces{})
	sound := false
	defer func() {
		if !sound { // a panic: it is not to be used again
			s.buffered.Add(-int64(m.held))
			if m.large != nil {
				daemon.Guard(m.large.Abort)
			}
		}
	}()
	size := int64(0)
	err = copyContent(m, func() ([]byte, error) {
		rd.end() // whoever is slow holds up nobody
		b, err := in.Next()
		if size += int64(len(b)); err == nil && set.sizeLimit > 0 && size > set.sizeLimit {
			err = maildrop.ErrLimit
		}
		rd.begin(x)
		return b, err
	})
	if err != nil {
		sound = true
		m.abort()
		if errors.Is(err, maildrop.ErrLimit) {
			return sysexits.Unavailable, "message file too big"
		}
		return inputFault(err)
	}
	m.close()
	rd.end()
	rd.fine(x)
	sound = true
	if r := m.err; r != nil {
		m.abort()
		if r.code/100 == 4 {
			return sysexits.TempFail, fmt.Sprintf("error writing queue file: %d %s %s", r.code, r.dsn, r.text)
		}
		return sysexits.Unavailable, fmt.Sprintf("%d %s %s", r.code, r.dsn, r.text)
	}
	done := make(chan error, 1)
	m.picked = func(err error) { done <- err }
	id := m.env.ID
	v.log.Event(maillog.Pickup{Queue: id, UID: p.UID, From: sub.Sender})
	m.append()
	if err := <-done; err != nil {
		return sysexits.TempFail, "error writing queue file: " + refusalOf(err).text
	}
	return 0, string(id)
}

func inputFault(err error) (int, string) {
	switch {
	case errors.Is(err, maildrop.ErrLimit), errors.Is(err, maildrop.ErrFormat), errors.Is(err, maildrop.ErrIncomplete):
		return sysexits.DataErr, "bad input: " + err.Error()
	}
	return sysexits.TempFail, "error reading input: " + err.Error()
}
