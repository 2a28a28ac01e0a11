package qmgr

import (
	"time"

	"postrider/lib/proto"
	"postrider/lib/sched"
)

// Questions. A fact that a policy asks for and that has to be looked up is a job, as the
// names of destinations are: the message waits in the parked list of its question, the
// answer is remembered, and then all that waited for it is looked at again. So a name server
// that does not answer keeps only that mail waiting which it concerns, and no attempt is
// used up.

const (
	// answersMax is how many answers are remembered; beyond, all are forgotten, which
	// costs asking again.
	answersMax = 50_000
	// answerTime is how long an answer holds at least: until what waited for it is looked at.
	answerTime = time.Minute
	// answerFailed is how long it holds that no answer could be had.
	answerFailed = 5 * time.Minute
)

// about is what a question asks for: the mail hosts of a next hop, or what a database has
// for a key.
type about struct {
	transport, nextHop string
	table, key         string // the path of the table's definition
}

// question is one that is being asked, and who waits for the answer.
type question struct {
	about about
	list  parkedList
}

// answer is what became of one.
type answer struct {
	hosts      []string
	registered string
	value      string
	found      bool
	failed     bool      // the database does not answer
	until      time.Time // spool time
}

// questions are all of them.
type questions struct {
	open    map[about]*question
	answers map[about]answer
	waiting []*question // not yet asked: resolveSlots are
	asked   int
	missing *question // what the last decision lacked

	databases databases
}

// forget forgets the answers, when the configuration changes.
func (q *questions) forget() {
	q.answers = map[about]answer{}
	if q.open == nil {
		q.open = map[about]*question{}
	}
}

// groupOf returns the mx_group of a next hop. When it is not known, it is being asked for.
func (m *manager) groupOf(transport, nextHop string) (group string, known bool) {
	if !m.set.sched.Transports[transport].Resolves || sched.Literal(nextHop) {
		return "", true
	}
	if a := m.answerTo(about{transport: transport, nextHop: nextHop}); a != nil {
		return m.book.policy.GroupOf(a.hosts, a.registered), true
	}
	return "", false
}

// answerTo returns what is known. When nothing is, that is being asked.
func (m *manager) answerTo(x about) *answer {
	qs := &m.questions
	if a, ok := qs.answers[x]; ok && m.spool.Now().Before(a.until) {
		return &a
	}
	q := qs.open[x]
	if q == nil {
		q = &question{about: x}
		qs.open[x] = q
		if x.table != "" {
			qs.databases.waiting = append(qs.databases.waiting, q)
			m.askDatabases()
		} else {
			qs.waiting = append(qs.waiting, q)
			m.askNext()
		}
	}
	qs.missing = q
	return nil
}

// answered remembers an answer, and has what waited for it looked at again.
func (m *manager) answered(q *question, a answer) {
	qs := &m.questions
	delete(qs.open, q.about)
	if len(qs.answers) >= answersMax {
		clear(qs.answers)
	}
	qs.answers[q.about] = a
	m.parking.join(&m.parking.again, &q.list)
}

// askNext asks the agents as many questions as may be under way.
func (m *manager) askNext() {
	qs := &m.questions
	for qs.asked < resolveSlots && len(qs.waiting) > 0 {
		q := qs.waiting[0]
		if qs.waiting = qs.waiting[1:]; len(qs.waiting) == 0 {
			qs.waiting = nil
		}
		qs.asked++
		m.lastLookup++
		l := &lookup{seq: m.lastLookup, program: m.set.program(q.about.transport), fact: q,
			ask: proto.Resolve{Seq: m.lastLookup, Service: q.about.transport, NextHop: q.about.nextHop}}
		m.lookups[l.seq] = l
		m.askAll(l)
	}
}

// grouped takes an answer. That there are no mail hosts, or none can be found out now, is
// one, too: the group is "" then, and the delivery will say what is wrong.
func (m *manager) grouped(l *lookup) {
	m.questions.asked--
	holds := max(l.holds, answerTime)
	if l.failed && len(l.hosts) == 0 {
		holds = answerFailed
	}
	m.answered(l.fact, answer{hosts: l.hosts, registered: l.group, until: m.spool.Now().Add(holds)})
	m.askNext()
}

// unanswered asks for all that is not known of the recipients that are to be tried, of a
// large message of the first slice, and returns a question that the message has to wait
// for; nil when something of it can go: what cannot waits in its next pass.
func (m *manager) unanswered(msg *message) (q *question) {
	if !m.book.policy.UsesMX() && !m.book.asks {
		return nil
	}
	n, known := 0, false
	for i := range msg.rcpts {
		if msg.rcpts[i].state != trying {
			continue
		}
		if _, status := m.resolve(msg, uint32(i)); status != factsMissing {
			known = true
		} else if q == nil {
			q = m.questions.missing
		}
		if n++; n == m.machine.Slice() {
			break
		}
	}
	if known {
		return nil
	}
	return q
}
