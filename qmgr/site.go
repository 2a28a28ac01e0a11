package qmgr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"postrider/lib/address"
	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/sched"
	"postrider/lib/spool"
)

// site makes what is deferred for the recipients of one domain due now, and forgets that
// their destinations are dead (postqueue -s). Postfix keeps a log for each domain that
// may be named, and so has few of them; here the queue is searched.
func (o *operator) site(site string) proto.Done {
	if !o.m.mayFlush(o.peer) {
		return proto.Done{Code: exNoPerm, Text: "you are not allowed to flush the mail queue"}
	}
	if !address.ValidSite(site) {
		return proto.Done{Code: exUsage, Text: fmt.Sprintf("Invalid request: %q", site)}
	}
	may, err := address.NewFlushable(o.m.d.Config(), o.m.d.Opener())
	if err == nil {
		var ok bool
		if ok, err = may.Match(context.Background(), site); err == nil && !ok {
			return proto.Done{Code: exUnavailable, Text: fmt.Sprintf("Flush service is not configured for destination %q", site)}
		}
	}
	if err != nil {
		return proto.Done{Code: exTempFail, Text: "fast_flush_domains: " + err.Error()}
	}
	s := &siteFlush{o: o, suffix: "@" + site, known: map[sched.Recipient]bool{}}
	if err := s.run(); err != nil {
		return proto.Done{Code: exTempFail, Text: "searching the queue: " + err.Error()}
	}
	return proto.Done{Count: s.count}
}

// siteFlush is one search.
type siteFlush struct {
	o      *operator
	suffix string // of the addresses
	snap   *spool.Snapshot
	found  []spool.Target
	dests  []sched.Recipient // that the owner has not revived yet
	known  map[sched.Recipient]bool
	count  uint64
}

func (s *siteFlush) run() error {
	m := s.o.m
	if err := s.o.user.work(s.o.began, func() { s.snap = ask(m, m.spool.Snapshot) }); err != nil {
		return err
	}
	defer s.snap.Close()
	for more := true; more; {
		var err error
		slow := s.o.user.work(s.o.began, func() { more, err = s.step() })
		if err = errors.Join(slow, err); err != nil {
			return err
		}
	}
	return nil
}

// step looks at the next messages; what it finds is due when it returns.
func (s *siteFlush) step() (more bool, bad error) {
	m := s.o.m
	route, set := m.routing()
	more = true
	for range shapeReads {
		it, err := s.snap.Next()
		if err != nil {
			if more = false; !errors.Is(err, io.EOF) {
				bad = err
			}
			break
		}
		if it.Queue == inHold || it.Open && it.Queue == inActive {
			continue
		}
		if to, ok := s.match(it); ok {
			s.found = append(s.found, it.Target)
			if r, err := route.Resolve(context.Background(), it.Sender, to); err == nil && r.Bad == nil {
				s.dest(sched.Recipient{Transport: r.Transport, NextHop: r.NextHop, User: set.user(r.Recipient)})
			}
		}
	}
	ask(m, func() bool {
		for _, d := range s.dests {
			m.machine.FlushDestination(m.now(), d)
		}
		s.count += uint64(m.spool.Expedite(s.found))
		return true
	})
	s.found, s.dests = s.found[:0], s.dests[:0]
	return more, bad
}

// match returns a recipient of the site.
func (s *siteFlush) match(it *spool.Item) (mail.Address, bool) {
	for again := true; again; {
		for i := range it.Recipients {
			a := it.Recipients[i].Address
			if n := len(a) - len(s.suffix); n > 0 && strings.EqualFold(string(a[n:]), s.suffix) {
				return a, true
			}
		}
		again = it.More > 0 && s.o.m.spool.Whole(it) == nil
	}
	return "", false
}

// siteDests bounds the destinations of a site that are revived.
const siteDests = 10000

func (s *siteFlush) dest(d sched.Recipient) {
	if !s.known[d] && len(s.known) < siteDests {
		s.known[d] = true
		s.dests = append(s.dests, d)
	}
}

// routing returns what resolves addresses now, for another goroutine than the owner's.
func (m *manager) routing() (*address.Resolver, settings) {
	type both struct {
		route *address.Resolver
		set   settings
	}
	b := ask(m, func() both { return both{m.route, m.set} })
	return b.route, b.set
}
