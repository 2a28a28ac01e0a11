package qmgr

import (
	"context"
	"math"
	"math/rand/v2"
	"net"
	"runtime"
	"time"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/maillog"
	"postrider/lib/proto"
	"postrider/lib/sched"
	"postrider/lib/slot"
	"postrider/lib/spool"
	"postrider/lib/table"
)

// host is what master gave us; package daemon has it.
type host interface {
	Config() *config.Config
	Opener() table.Opener
	File(path string) ([]byte, error)
	Stopping() <-chan struct{}
	Silent(partner string)
	Alone(program string, want bool)
}

// manager is the owner's state. Everything in it belongs to the goroutine in run,
// but for events, which others fill.
type manager struct {
	d      host
	log    *maillog.Logger
	errlog *maillog.Logger // for what Postfix's error and retry daemons log
	dislog *maillog.Logger // for what its discard daemon logs
	events chan func()
	crowd  crowd // at public/qmgr; has a lock of its own

	spool   *spool.Queue
	machine *sched.Machine
	state   *stateFiles // nil: what the scheduler learns is forgotten at the end
	noted   noted       // what of it is on disk

	plans []*sched.Schedule // its
	terms termsOf
	seen  seen // what data_directory knows of the spool
	set   settings
	route *address.Resolver

	active    map[sched.MsgID]*message
	byRef     map[slot.Ref]*message
	lastID    sched.MsgID
	fresh     fifo // tailed, and not yet looked at
	parking   parking
	steps     int // of the wall clock that the scheduler knows of
	intake    sched.Intake
	book      rulebook          // of sched.cf
	questions questions         // facts that are being found out
	quotas    quotas            // how many messages of a key there are
	large     int               // recipients of messages in memory that come in slices
	fromAgain bool              // the last parked message was of parking.again
	due       []*spool.Message  // read from the wheel, and not yet admitted
	ailing    time.Time         // the wheel could not be read, and is not before (spool time)
	touched   []*message        // with finished recipients that the spool was not told of
	deleted   map[slot.Ref]bool // deleted while parked or due
	bumped    map[slot.Ref]bool // to be tried whatever is known of their destinations

	epoch      uint64 // tells our deliveries from those of an earlier qmgr
	inHand     map[sched.EntryID]*delivery
	stalled    *sched.Action // a delivery that waits for log space
	agents     map[string]*agent
	lookups    map[uint64]*lookup
	lastLookup uint64
	acks       map[*agent][]proto.DeliveryID
	talking    []*agent // with something to be written at the end of the turn
	lines      lines
	demand     demand
	given      []sched.Recipient              // what slice gave the scheduler last, for its memory
	asked      proto.Deliver                  // the request sent last, whose memory the next one uses
	foreign    map[proto.DeliveryID]*delivery // in hand since an earlier qmgr
	held       map[slot.Ref][]*delivery       // the same, by message
	early      map[slot.Ref][]early           // results of those from before we had the message open
	led        map[slot.Ref]passed            // of parked messages: where local led them
	sweptLed   time.Time                      // when led was last looked through
	swept      time.Time                      // when early was last looked through
	lost       map[dead][]*delivery           // what a dead bounce or local had in hand, until cleanup is drained

	records   *records              // what was read when a qmgr died
	asides    map[string]*aside     // suspect deliveries, by program
	deaths    map[uint64]proto.Died // of processes whose end is not seen yet
	unjudged  map[uint64][]loss     // of which master has not said how they died, by process id
	verdict   time.Duration         // how long that is waited for
	lastAlone uint64                // number of the newest delivery to a process alone

	cleanup  *journal
	free     []string                 // files that no cleanup was told of
	known    map[string]bool          // partners that were given to us and have not greeted yet
	newest   map[string]*net.UnixConn // the end given last, by partner
	started  bool                     // every living agent has said hello and the old journal is read
	deadline time.Time                // after which the silent ones are killed
	rounds   int                      // how often that was done
	stopping bool
}

// lines are events of the log, filled anew for each message.
type lines struct {
	active  maillog.QueueActive
	removed maillog.Removed
}

// run is the owner's loop. It returns when ctx ends, or when we are to stop and
// nothing is in hand any more.
func (m *manager) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	stop := m.d.Stopping()
	for {
		timer.Reset(m.wait())
		select {
		case f := <-m.spool.Events():
			f()
		case f := <-m.events:
			f()
		case <-timer.C:
		case <-stop:
			stop = nil
			m.stop()
		case <-ctx.Done():
			return nil
		}
		runtime.Gosched() // whoever is ready adds to this turn
		m.drain()
		for m.turn() {
			m.drain()
		}
		if m.stopping && len(m.inHand) == 0 && len(m.foreign) == 0 {
			return nil
		}
	}
}

// drain runs what has happened by now, within reason.
func (m *manager) drain() {
	for range 256 {
		select {
		case f := <-m.spool.Events():
			f()
		case f := <-m.events:
			f()
		default:
			return
		}
	}
}

// turn acts on what has happened. It reports whether there is more to do at once.
func (m *manager) turn() (more bool) {
	now := m.now()
	m.machine.Tick(now)
	if n := m.spool.Steps(); n != m.steps {
		m.steps = n
		m.machine.Stepped(now)
	}
	m.start()
	m.sweepEarly()
	if m.started {
		if !m.stopping {
			m.listen()
			more = m.fill()
		}
		m.dispatch()
		m.tryAlone()
	}
	m.tell()
	m.say()
	m.note()
	m.see()
	m.tellStored()
	m.tellFull()
	m.spool.Commit()
	return more
}

// stop takes nothing new: no delivery starts any more, results are still written.
func (m *manager) stop() {
	m.stopping = true
	for pid, list := range m.unjudged {
		for _, l := range list {
			m.leave(l.gone)
		}
		delete(m.unjudged, pid)
	}
	for name, gone := range m.lost { // nobody may be there to say that they are drained
		m.leave(gone)
		delete(m.lost, name)
	}
	m.leaveRequeues()
	for name := range m.set.sched.Transports {
		m.machine.TransportPause(m.now(), name)
	}
}

// tell writes down and passes on what this turn decided: marks for recipients of
// messages that go on, and, once all marks are written, acknowledgements.
func (m *manager) tell() {
	for _, msg := range m.touched {
		if over := msg.over; len(over) > 0 {
			msg.over = nil
			m.spool.Done(msg.Ref, over...)
		}
	}
	m.touched = m.touched[:0]
	if len(m.acks) == 0 {
		return
	}
	acks := m.acks
	m.acks = make(map[*agent][]proto.DeliveryID, len(acks))
	m.spool.Written(func() {
		for a, ids := range acks {
			m.add(a, proto.TypeAck, &proto.Ack{IDs: ids}) // a failure is heard by read
		}
	})
}

// touch notes that a recipient of msg is finished and not yet marked so. The mark is
// written at the end of the turn, unless the message is over by then.
func (m *manager) touch(msg *message, n uint32) {
	r := &msg.rcpts[n]
	if r.logged {
		return
	}
	r.logged = true
	if len(msg.over) == 0 {
		m.touched = append(m.touched, msg)
	}
	if msg.over == nil {
		msg.over = msg.one.over[:0]
	}
	msg.over = append(msg.over, n)
}

// forget drops a message that Put, Finish or Corrupt has taken back.
func (m *manager) forget(msg *message) {
	msg.over = nil
	delete(m.active, msg.id)
	delete(m.byRef, msg.Ref)
	if msg.large {
		m.large -= len(msg.rcpts)
		if p := &m.parking; p.large.n > 0 {
			if x, err := p.pop(&p.large); err == nil {
				p.push(&p.again, x)
			}
		}
	}
}

// post gives f to the owner. It may be called from any other goroutine.
func (m *manager) post(f func()) { m.events <- f }

// now is spool time as the scheduler counts it.
func (m *manager) now() sched.Time { return stime(m.spool.Now()) }

// soonest is the shortest sleep; whoever waits for a time waits for it exactly, and
// for a little more when it is now.
const soonest = time.Millisecond

// wait is how long the owner may sleep when nothing happens. Nothing polls: a minute is
// for the housekeeping of the spool.
func (m *manager) wait() time.Duration {
	d := time.Minute
	if !m.started {
		return max(min(d, time.Until(m.deadline)), soonest)
	}
	now := m.spool.Now()
	if at, ok := m.machine.WakeAt(); ok {
		d = min(d, at.Sub(stime(now)))
	}
	if at, ok := m.nextDue(); ok && !m.stopping {
		d = min(d, at.Sub(now))
	}
	if m.parking.soonest != math.MaxInt64 && len(m.parking.rung) == 0 && !m.stopping {
		d = min(d, time.UnixMilli(m.parking.soonest).Sub(now))
	}
	if m.ailing.After(now) {
		d = min(d, m.ailing.Sub(now))
	}
	for _, at := range []time.Time{m.noted.next, m.seen.next} {
		if !at.IsZero() {
			d = min(d, time.Until(at))
		}
	}
	return max(d, soonest)
}

// stime is a moment of spool time as the scheduler counts it.
func stime(t time.Time) sched.Time { return sched.Time(t.UnixNano()) }

// newEpoch draws the number that tells this qmgr's deliveries from others'.
func newEpoch() uint64 { return rand.Uint64() | 1 }
