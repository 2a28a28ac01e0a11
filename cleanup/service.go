package cleanup

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"postrider/lib/journal"
	"postrider/lib/mail"
	"postrider/lib/maildrop"
	"postrider/lib/maillog"
)

const dropDir = maildrop.Dir

// maxBuffered is how many bytes of unfinished messages are held in memory, all
// clients together; above it even small ones go to files of their own (S7).
const maxBuffered = 16 << 20

// settings are what messages need of the configuration.
type settings struct {
	myhostname, mailName  string
	pickup                string // the tag of pickup in the log
	hopLimit, headerLimit int
	sizeLimit             int64 // bytes, 0 for none; maildrop/ only, smtpd has its own
	addMissing            bool
	rewrite               func(mail.Address) mail.Address
}

// service is what all parts of the program share.
type service struct {
	log      *maillog.Logger
	now      func() time.Time
	settings atomic.Pointer[settings]
	journal  *journal.Journal
	ids      mail.IDs // for mail from maildrop/
	queue    *queueLink
	heavy    heavy
	buffered atomic.Int64

	mu      sync.Mutex
	clients map[string][]*client // by partner name, oldest first
	ended   *sync.Cond           // a client has become quiet, or one more has come
}

func newService(log *maillog.Logger, now func() time.Time) *service {
	s := &service{log: log, now: now, clients: map[string][]*client{}}
	s.ended = sync.NewCond(&s.mu)
	s.queue = &queueLink{s: s, wake: make(chan struct{}, 1)}
	return s
}

// number tells the ids of this process from those of others alive at the same time.
func (s *service) number(pid int) { s.ids.Number = uint64(pid) }

// waitClients waits until every client has closed its connection and has been
// answered, or ctx ends.
func (s *service) waitClients(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.clients) > 0 && ctx.Err() == nil {
		s.ended.Wait()
	}
}

// drain waits until all that a dead partner sent is in the journal or never will
// be. Of its connections all but the newest are dead for certain: master gives a
// partner's next one only when the process behind the last is gone. The newest is
// the dead one's, whose end is about to arrive, or already that of the next
// process; settle is how long is waited to find out.
func (s *service) drain(name string, settle time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.clients[name]
	if len(list) == 0 {
		return
	}
	last := list[len(list)-1]
	late := false
	t := time.AfterFunc(settle, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		late = true
		s.ended.Broadcast()
	})
	defer t.Stop()
	for {
		list = s.clients[name]
		switch {
		case len(list) == 0 || list[0].seq > last.seq:
			return
		case list[0] == last && len(list) == 1 && late && !last.eof:
			return // alive
		}
		s.ended.Wait()
	}
}
