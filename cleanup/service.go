package cleanup

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postrider/lib/address"
	"postrider/lib/journal"
	"postrider/lib/mail"
	"postrider/lib/maildrop"
	"postrider/lib/maillog"
	"postrider/lib/suspect"
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
	verpFilter            string                          // verp_delimiter_filter
	tokenLimit            int                             // header_address_token_limit
	drop                  []string                        // message_drop_headers
	rewrite               func(mail.Address) mail.Address // completes addresses of this machine's mail
	remote                func(mail.Address) mail.Address // those in headers of other clients; nil: they stay
	checks                *checks                         // nil: nobody looks at what mail says
	mapper                *address.Mapper                 // nil: addresses stay as they are
	capture               *capture                        // nil: no policy asks for anything
	filter                string                          // content_filter, of what users of this machine post
	submitters            []string                        // authorized_submit_users
	double                mail.Address                    // double_bounce_sender
	owner                 string                          // mail_owner
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
	full     fullKeys // of quotas: what is used up
	buffered atomic.Int64
	notes    *suspect.Notes   // nil: none are kept
	strikes  *suspect.Strikes // what cleanup died of
	parse    sync.RWMutex     // held to read what a stranger wrote; alone, what is suspect
	drop     *dropReader      // nil: none
	unclear  chan struct{}    // closed when only another process can tell what became of a message
	once     sync.Once        // to close it

	mu      sync.Mutex
	clients map[string][]*client // by partner name, oldest first
	ended   *sync.Cond           // a client has become quiet, or one more has come
}

func newService(log *maillog.Logger, now func() time.Time) *service {
	s := &service{log: log, now: now, clients: map[string][]*client{}, strikes: suspect.OpenStrikes(nil), unclear: make(chan struct{})}
	s.ended = sync.NewCond(&s.mu)
	s.queue = &queueLink{s: s, wake: make(chan struct{}, 1), lost: make(chan struct{})}
	return s
}

// number tells the ids of this process from those of others alive at the same time.
func (s *service) number(pid int) { s.ids.Number = uint64(pid) }

// unclearTime is how long a disk that failed is given before this process ends so that the
// next one tells what is on it.
const unclearTime = 5 * time.Second

// errUnclear is what this process then ends with.
var errUnclear = errors.New("the journal failed, and whether a message of maildrop/ or one that was requeued is in it the next process will see")

// settle has this process end in a while: nobody asks again for a message of maildrop/, or
// for one that is being requeued, of which it cannot say whether it is in the journal; the
// next one reads it first.
func (s *service) settle() {
	s.once.Do(func() { time.AfterFunc(unclearTime, func() { close(s.unclear) }) })
}

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

// drain waits until all that dead processes of a program sent is in the journal or
// never will be: the process pid, or, when that is 0, all but the living. A connection
// says in its hello whose it is; until then it may be the dead one's, and is waited
// for. One that came after the question is of nobody who is asked about. The end of a
// dead process's connection arrives within microseconds; settle bounds the wait for
// one that qmgr takes for dead and that lives, or is about to greet. That is the newest
// of its partner name: master gives the next only when the process behind the last is
// gone.
func (s *service) drain(program string, pid uint64, living []uint64, settle time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var asked []*client
	for name, list := range s.clients {
		if programOf(name) == program {
			asked = append(asked, list...)
		}
	}
	late := false
	t := time.AfterFunc(settle, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		late = true
		s.ended.Broadcast()
	})
	defer t.Stop()
	over := func(c *client) bool {
		switch {
		case c.eof && c.pending == 0:
			return true
		case late && !c.eof && c == s.newest(c.name):
			return true
		case !c.greeted:
			return false
		case pid != 0:
			return c.pid != pid
		}
		return slices.Contains(living, c.pid)
	}
	for {
		if asked = slices.DeleteFunc(asked, over); len(asked) == 0 {
			return
		}
		s.ended.Wait()
	}
}

// newest returns the connection of a partner that came last, or nil.
func (s *service) newest(name string) *client {
	list := s.clients[name]
	if len(list) == 0 {
		return nil
	}
	return list[len(list)-1]
}

// programOf returns the program of a partner: "smtpd" of "smtpd.0".
func programOf(partner string) string {
	program, _, _ := strings.Cut(partner, ".")
	return program
}
