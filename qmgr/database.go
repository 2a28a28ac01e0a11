package qmgr

import (
	"fmt"
	"net"
	"time"

	"postrider/lib/ipc"
	"postrider/lib/proto"
)

const (
	// proxymap is the partner that asks databases.
	proxymap = "proxymap"
	// databaseSlots is how many questions it has at once.
	databaseSlots = 500
	// databaseTime is how long it may be silent, or away, while something is asked. It
	// gives each question five seconds itself.
	databaseTime = 15 * time.Second
	// databaseFailed is how long it holds that a database did not answer.
	databaseFailed = 10 * time.Second
)

// databases are the questions for proxymap.
type databases struct {
	conn    *ipc.Conn         // nil: it is away
	out     chan proto.Lookup // to its writer; has room for all that are asked
	asked   map[uint64]*question
	waiting []*question // not yet asked
	last    uint64
	since   time.Time // when it was last heard, or the first of these questions came
	watched bool      // late is under way
	failing bool      // that was logged
}

// databases speaks with a proxymap until that ends.
func (m *manager) databases(sock *net.UnixConn) {
	conn := ipc.New(sock, 0)
	defer conn.Close()
	if _, err := conn.Greet(ipc.Hello{Protocol: proto.TablesName, Version: proto.TablesVersion}); err != nil {
		return
	}
	out := make(chan proto.Lookup, databaseSlots)
	go func() {
		for q := range out {
			conn.Send(proto.TypeLookup, &q) // a failure is heard by Next
		}
	}()
	m.post(func() { m.databasesUp(conn, out) })
	for {
		f, err := conn.Next()
		if err != nil {
			break
		}
		f.CloseFDs()
		var a proto.Found
		if f.Type != proto.TypeFound || a.Decode(f.Payload) != nil {
			m.log.Errorf("proxymap answers what is no answer")
			break
		}
		m.post(func() { m.found(conn, &a) })
	}
	m.post(func() { m.databasesDown(conn) })
}

func (m *manager) databasesUp(conn *ipc.Conn, out chan proto.Lookup) {
	if old := m.questions.databases.conn; old != nil {
		m.databasesDown(old)
	}
	m.questions.databases.conn, m.questions.databases.out = conn, out
	m.askDatabases()
}

// databasesDown has the next process asked what the one before has not answered.
func (m *manager) databasesDown(conn *ipc.Conn) {
	d := &m.questions.databases
	if d.conn != conn {
		return
	}
	for _, q := range d.asked {
		d.waiting = append(d.waiting, q)
	}
	close(d.out)
	d.conn, d.out = nil, nil
	clear(d.asked)
}

// askDatabases asks as many questions as may be under way.
func (m *manager) askDatabases() {
	d := &m.questions.databases
	if !d.watched && len(d.asked)+len(d.waiting) > 0 {
		d.watched, d.since = true, time.Now()
		m.after(databaseTime, m.databasesLate)
	}
	if d.asked == nil {
		d.asked = map[uint64]*question{}
	}
	for d.conn != nil && len(d.asked) < databaseSlots && len(d.waiting) > 0 {
		q := d.waiting[0]
		if d.waiting = d.waiting[1:]; len(d.waiting) == 0 {
			d.waiting = nil
		}
		d.last++
		d.asked[d.last] = q
		d.out <- proto.Lookup{ID: d.last, Table: q.about.table, Key: q.about.key}
	}
}

// found takes an answer.
func (m *manager) found(conn *ipc.Conn, a *proto.Found) {
	d := &m.questions.databases
	q := d.asked[a.ID]
	if d.conn != conn || q == nil {
		return
	}
	delete(d.asked, a.ID)
	d.since = time.Now()
	if a.Failed != "" {
		m.unfound(q, fmt.Sprintf("lookup of %q: %s", q.about.key, a.Failed))
	} else {
		d.failing = false
		m.answered(q, answer{value: a.Value, found: a.Found, until: m.spool.Now().Add(answerTime)})
	}
	m.askDatabases()
}

// unfound says that a question has no answer now: what depends on it is deferred. Of many
// in a row the first is logged.
func (m *manager) unfound(q *question, why string) {
	if d := &m.questions.databases; !d.failing {
		d.failing = true
		m.log.Warnf("sched.cf: sqlite:%s: %s; mail that depends on it is deferred", q.about.table, why)
	}
	m.answered(q, answer{failed: true, until: m.spool.Now().Add(databaseFailed)})
}

// databasesLate gives up what is asked when nothing is heard. A proxymap that hangs is
// killed, by master, which starts another.
func (m *manager) databasesLate() {
	d := &m.questions.databases
	d.watched = false
	if len(d.asked)+len(d.waiting) == 0 {
		return
	}
	if left := databaseTime - time.Since(d.since); left > 0 {
		d.watched = true
		m.after(left, m.databasesLate)
		return
	}
	all := d.waiting
	for _, q := range d.asked {
		all = append(all, q)
	}
	d.waiting = nil
	clear(d.asked)
	if d.conn != nil {
		m.d.Silent(proxymap)
	}
	for _, q := range all {
		m.unfound(q, fmt.Sprintf("proxymap has not answered for %s", databaseTime))
	}
}
