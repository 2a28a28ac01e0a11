package qmgr

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"time"

	"postrider/lib/address"
	"postrider/lib/daemon"
	"postrider/lib/disk"
	"postrider/lib/lockdown"
	"postrider/lib/maillog"
	"postrider/lib/proto"
	"postrider/lib/sched"
	"postrider/lib/slot"
	"postrider/lib/spool"
)

// Main runs qmgr as master started it.
func Main() { daemon.Run("qmgr", serve) }

// helloTime is how long a living agent may take to say hello.
const helloTime = 5 * time.Second

func serve(ctx context.Context, d *daemon.Daemon) error {
	notes, _, strikes := d.Suspects()
	r := newRecords(notes, strikes)
	data := d.Config().String("data_directory")
	seen, witness := openSeen(data, d.Log.Warnf)
	m, err := newManager(d, d.Log, spool.Options{FS: disk.OS(d.Config().String("queue_directory")), Witness: witness, Reading: r.reading, Condemned: r.condemned})
	if err != nil {
		return err
	}
	m.seen = seen
	m.state = openState(data, d.Log.Warnf)
	m.recall()
	m.records = r
	if err := d.Shut(doors(d.Config().String("queue_directory"))); err != nil {
		return err
	}
	for _, name := range d.Partners() {
		if name != proxymap { // it has no deliveries in hand
			m.known[name] = true
		}
	}
	d.OnPartner(m.partner)
	d.OnDied(func(x proto.Died) { m.post(func() { m.died(x) }) })
	d.OnReload(func() { m.post(m.reload) })
	for name, l := range d.Listeners() {
		if name == proto.OperatorSocket {
			go m.operators(ctx, l)
		}
	}
	d.Ready()
	err = m.run(ctx)
	m.remember()
	if cerr := m.spool.Close(); err == nil {
		err = cerr
	}
	m.sawLast()
	return err
}

// doors are the spool without maildrop/. What cleanup writes qmgr reads, gives back
// and removes; it makes no file there.
func doors(queue string) lockdown.Doors {
	const read = lockdown.Read | lockdown.List | lockdown.Remove
	dirs := map[string]lockdown.Access{
		filepath.Join(queue, "incoming"): read | lockdown.Write,
		filepath.Join(queue, "content"):  read,
	}
	for _, name := range []string{"deferred", "hold", "store", "log", "corrupt"} {
		dirs[filepath.Join(queue, name)] = read | lockdown.Write | lockdown.Create
	}
	return lockdown.Doors{Accept: true, Memory: true, Dirs: dirs}
}

// newManager opens the spool, by options of which it fills in those that the
// configuration has, and sets up the scheduler; no delivery starts before run.
func newManager(d host, log *maillog.Logger, o spool.Options) (*manager, error) {
	set, err := readSettings(d.Config())
	set.sched.Retry.Seed = rand.Uint64()
	if err != nil {
		return nil, err
	}
	name := d.Config().String("syslog_name")
	m := &manager{
		d: d, log: log, errlog: log.Named(name + "/error"), dislog: log.Named(name + "/discard"),
		events: make(chan func(), 64), set: set, epoch: newEpoch(), machine: sched.New(set.sched),
		active: map[sched.MsgID]*message{}, byRef: map[slot.Ref]*message{}, inHand: map[sched.EntryID]*delivery{},
		agents: map[string]*agent{}, lookups: map[uint64]*lookup{}, acks: map[*agent][]proto.DeliveryID{}, early: map[slot.Ref][]early{}, led: map[slot.Ref]passed{},
		held: map[slot.Ref][]*delivery{}, foreign: map[proto.DeliveryID]*delivery{}, lost: map[dead][]*delivery{}, known: map[string]bool{}, newest: map[string]*net.UnixConn{},
		asides: map[string]*aside{}, deaths: map[uint64]proto.Died{}, unjudged: map[uint64][]loss{}, verdict: verdictTime,
		bumped: map[slot.Ref]bool{}, deleted: map[slot.Ref]bool{}, deadline: time.Now().Add(helloTime),
	}
	o.Warm = proto.InlineMax
	o.OnOver = func(ref slot.Ref) { m.quotas.over(ref) }
	o.Logf, o.OnFreed, o.MarkSyncDelay = log.Infof, m.freed, d.Config().Duration("mark_sync_delay")
	m.parking.init()
	if f, err := openVolatile(filepath.Join(d.Config().String("queue_directory"), "deferred")); err != nil {
		log.Warnf("%v; memory has to do", err)
	} else {
		m.parking.file = f
	}
	if m.spool, err = spool.Open(o); err != nil {
		return nil, fmt.Errorf("queue directory %s: %w", d.Config().String("queue_directory"), err)
	}
	if m.route, err = address.New(d.Config(), d.Opener()); err != nil {
		log.Warnf("%v; mail that depends on it is deferred", err)
	}
	m.readBook()
	m.recount()
	m.configure(set.sched.Transports)
	for transport := range set.sched.Transports {
		m.machine.TransportPause(m.now(), transport) // until its agent has said hello
	}
	return m, nil
}

// reload takes the new configuration: limits hold from now on, and what is not in
// hand is resolved anew when its next attempt comes.
func (m *manager) reload() {
	set, err := readSettings(m.d.Config())
	if err != nil {
		m.log.Errorf("reload: the old settings stay: %v", err)
		return
	}
	route, err := address.New(m.d.Config(), m.d.Opener())
	if err != nil {
		m.log.Warnf("%v; mail that depends on it is deferred", err)
	}
	rerouted := route.Fingerprint() != m.route.Fingerprint() || !maps.Equal(set.programs, m.set.programs)
	set.sched.Retry.Seed = m.set.sched.Retry.Seed
	known := m.set.sched.Transports
	m.set, m.route = set, route
	if m.readBook() {
		m.recount()
		rerouted, m.terms = true, termsOf{}
		both := maps.Clone(known)
		maps.Copy(both, set.sched.Transports)
		m.configure(both) // before mail is led by it
	}
	if rerouted && m.book.policy.QuotasRoute() {
		m.recount()
	}
	if rerouted { // before transports that are gone suspend what may go another way now
		m.reroute()
	}
	m.configure(set.sched.Transports)
	for name := range set.sched.Transports {
		if _, ok := known[name]; !ok && !m.able(set.program(name)) {
			m.machine.TransportPause(m.now(), name)
		}
	}
	for name, t := range set.sched.Transports {
		if t.Resolves { // the program reads the configuration anew, too
			m.machine.Unresolved(m.now(), name)
		}
	}
	if rerouted {
		m.unparkAll()
	}
}
