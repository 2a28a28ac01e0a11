package qmgr

import (
	"slices"
	"time"

	"postrider/lib/mail"
	"postrider/lib/sched"
	"postrider/lib/spool"
)

// state says where a recipient of an active message is in this pass.
//
//	resting  --------------------------------------------> (next pass)
//	trying   -> finished | deferred | failed | replaced
//	deferred -> failed (expired) | (next pass)
//	failed   -> finished (no report due) | replaced | (next pass, to be reported)
//	replaced -> finished, when the message that takes it over is tailed
//	foreign  -> like trying: an agent has it from an earlier qmgr
type state uint8

const (
	finished state = iota // nothing more to do, whatever became of it
	resting               // not due in this pass
	trying                // the scheduler has it
	foreign               // an agent has it since before this qmgr started
	deferred              // not now
	failed                // for good, and not yet reported
	replaced              // a message in the journal takes it over
)

// recipient is what this pass knows of one recipient; its number is its index in
// message.rcpts, as in the envelope.
//
// A message may have hundreds of thousands, so it is small: what became of a recipient
// is shared with others of the message.
type recipient struct {
	state    state
	tried    bool // an attempt was made in this pass
	mayFail  bool // expiry may strike: it, or its dead destination, was tried
	expanded bool // a message goes to those it stands for
	logged   bool // finished, and the spool was told or is told at the end of the turn
	planned  bool // deferred without an attempt, as it is to be: until due
	course   course
	attempts uint32
	due      sched.Time   // when resting; or deferred, when the rule's time is not to hold; else 0
	status   *mail.Status // never nil and never changed
}

// untold is the status of who was never tried.
var untold = new(mail.Status)

// message is one in the active queue.
type message struct {
	*spool.Message
	id       sched.MsgID
	active   time.Time // wall clock: when it entered the active queue
	rcpts    []recipient
	from     sched.Parking     // the list whose first it was, until then
	hop      sched.Recipient   // the destination of all it was scheduled for, if that is one
	hops     int               // 0: none yet; 1: hop; else several
	known    []sched.Recipient // where the first to be tried go, until they are scheduled
	passed   map[uint32]passed // where local led recipients in this pass
	parkFor  *sched.Recipient  // of a message with one: what has no room for him
	requeued bool              // in this pass cleanup was asked to take it anew
	reported bool              // failures of this pass were handed to bounce, with whatever success
	warning  bool              // a delay notice is under way
	arrived  []uint32          // recipients of this pass whose sender is to hear that they have it
	traced   []uint32          // recipients of this pass whose sender asked what becomes of them
	gone     bool              // deleted by an operator
	idle     bool              // the scheduler has nothing of it; it waits for replaced or foreign recipients
	over     []uint32          // finished in this turn: the message is in manager.touched
	seen     [4]*mail.Status   // statuses that recipients share
	turn     int               // of seen
	next     int               // recipients before this were given to the scheduler, if they are to be tried
	large    bool              // counted in manager.large
	corrupt  string            // why its content cannot be read, or ""
	suspect  string            // how an agent died with it in hand, or ""
	aside    int               // deliveries that are set aside, waiting or in hand

	expireAt, sendAt time.Time       // spool time, as the message itself asks for; zero: it does not
	timed            bool            // they are known
	left             sched.Recipient // whose source the others at its destination have
	pool             int             // of left
	noticed          uint32          // State.Notices when the notice under way was taken

	one one // memory that a message with one recipient needs, taken with its own
}

// one is used by the first that needs it.
type one struct {
	recipient [1]recipient
	known     [1]sched.Recipient
	over      [1]uint32
	delivery  delivery
	status    mail.Status
	delivers  bool // delivery is used
	told      bool // status is used
}

// newDelivery returns memory for a delivery of m.
func (m *message) newDelivery() *delivery {
	if m.one.delivers {
		return &delivery{}
	}
	m.one.delivers = true
	return &m.one.delivery
}

// noteHop notes where a recipient goes.
func (m *message) noteHop(to sched.Recipient) {
	switch {
	case m.hops == 0:
		m.hop, m.hops = to, 1
	case m.hops == 1 && !sameHop(m.hop, to):
		m.hops = 2
	}
}

// share returns the place of a status that recipients may share.
func (m *message) share(st mail.Status) *mail.Status {
	for _, s := range m.seen {
		if s != nil && *s == st {
			return s
		}
	}
	s := &m.one.status
	if m.one.told {
		s = new(mail.Status)
	}
	*s, m.one.told = st, true
	m.seen[m.turn] = s
	m.turn = (m.turn + 1) % len(m.seen)
	return s
}

// fail makes a recipient fail for good, for the reason that is known, or else for that one.
func (m *message) fail(r *recipient, reason mail.Status) {
	st := *r.status
	if st.Text == "" {
		st = reason
	}
	st.Class = mail.Bounced
	r.state, r.status = failed, m.share(st)
}

// count returns how many recipients are in state s.
func (m *message) count(s state) int {
	n := 0
	for i := range m.rcpts {
		if m.rcpts[i].state == s {
			n++
		}
	}
	return n
}

// numbers returns the recipients in state s.
func (m *message) numbers(s state) []uint32 {
	var ns []uint32
	for i := range m.rcpts {
		if m.rcpts[i].state == s {
			ns = append(ns, uint32(i))
		}
	}
	return ns
}

// unfinished returns those of the recipients that still need somebody's work.
func (m *message) unfinished(numbers []uint32) []uint32 {
	over := func(n uint32) bool { return m.rcpts[n].state == finished || m.rcpts[n].state == replaced }
	if !slices.ContainsFunc(numbers, over) {
		return numbers
	}
	return slices.DeleteFunc(slices.Clone(numbers), over)
}

// pass sets up the recipients of a message that was opened at now (spool time):
// those that are due are to be tried, or reported when they failed before. When it
// was flushed, all are due.
func (m *message) pass(now time.Time) {
	m.one.recipient = [1]recipient{}
	if m.rcpts = m.one.recipient[:]; len(m.Envelope.Recipients) != 1 {
		m.rcpts = make([]recipient, len(m.Envelope.Recipients))
	}
	if len(m.State.Groups) == 0 {
		for i := range m.rcpts {
			m.rcpts[i].state = trying
		}
	}
	for i := range m.rcpts {
		m.rcpts[i].status = untold
	}
	flushed := m.Flushed
	for gi := range m.State.Groups {
		g := &m.State.Groups[gi]
		status := &g.Status
		for _, n := range g.Recipients {
			if int(n) >= len(m.rcpts) {
				continue
			}
			r := &m.rcpts[n]
			r.attempts, r.status = g.Attempts, status
			switch {
			case !flushed && g.Due.After(now):
				r.state, r.due = resting, stime(g.Due)
			case g.Status.Class == mail.Bounced:
				r.state = failed
			default:
				r.state = trying
			}
		}
	}
	for i := range m.rcpts {
		if m.State.Done.Has(uint32(i)) {
			m.rcpts[i].state, m.rcpts[i].logged = finished, true
		}
	}
}

// groups files every unfinished recipient, those with the same fate together. now
// and next are spool time: next is when what was deferred is due by the rule. queues are the
// names of the policy's, as far as they are to be noted.
func (m *message) groups(now, next time.Time, queues []string) []spool.Group {
	type fate struct {
		due      sched.Time
		attempts uint32
		queue    uint16
		status   mail.Status
	}
	var gs []spool.Group
	at := map[fate]int{}
	for i := range m.rcpts {
		r := &m.rcpts[i]
		due, attempts := r.due, r.attempts
		switch r.state {
		case finished:
			continue
		case resting:
		case deferred, failed:
			if due == 0 {
				due = stime(next)
			}
		default: // taken back before an attempt
			due = stime(now)
		}
		if r.tried {
			attempts++
		}
		f := fate{due, attempts, r.course.queue, *r.status}
		k, ok := at[f]
		if !ok {
			k = len(gs)
			at[f] = k
			gs = append(gs, spool.Group{Due: time.Unix(0, int64(due)), Attempts: attempts, Status: *r.status})
			if int(r.course.queue) < len(queues) {
				gs[k].Queue = queues[r.course.queue]
			}
		}
		gs[k].Recipients = append(gs[k].Recipients, uint32(i))
	}
	return gs
}

// done returns the set of finished recipients.
func (m *message) done() spool.Set {
	s := m.State.Done
	for i := range m.rcpts {
		if m.rcpts[i].state == finished {
			s.Add(uint32(i))
		}
	}
	return s
}

// elsewhere says whether m waits for recipients outside the scheduler.
func (m *message) elsewhere() bool {
	return m.count(replaced)+m.count(foreign)+m.aside > 0
}
