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

// hopName is what a question is about: the mail hosts of a next hop.
type hopName struct{ transport, nextHop string }

// question is one that is being asked, and who waits for the answer.
type question struct {
	hop  hopName
	list parkedList
}

// answer is what became of one.
type answer struct {
	hosts      []string
	registered string
	until      time.Time // spool time
}

// questions are all of them.
type questions struct {
	open    map[hopName]*question
	answers map[hopName]answer
	waiting []*question // not yet asked: resolveSlots are
	asked   int
}

// forget forgets the answers, when the configuration changes.
func (q *questions) forget() {
	q.answers = map[hopName]answer{}
	if q.open == nil {
		q.open = map[hopName]*question{}
	}
}

// groupOf returns the mx_group of a next hop. When it is not known, it is being asked for.
func (m *manager) groupOf(transport, nextHop string) (group string, known bool) {
	if !m.set.sched.Transports[transport].Resolves || sched.Literal(nextHop) {
		return "", true
	}
	hop := hopName{transport, nextHop}
	if a, ok := m.questions.answers[hop]; ok && m.spool.Now().Before(a.until) {
		return m.book.policy.GroupOf(a.hosts, a.registered), true
	}
	if m.questions.open[hop] == nil {
		q := &question{hop: hop}
		m.questions.open[hop] = q
		m.questions.waiting = append(m.questions.waiting, q)
		m.askNext()
	}
	return "", false
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
		l := &lookup{seq: m.lastLookup, program: m.set.program(q.hop.transport), fact: q,
			ask: proto.Resolve{Seq: m.lastLookup, Service: q.hop.transport, NextHop: q.hop.nextHop}}
		m.lookups[l.seq] = l
		m.askAll(l)
	}
}

// grouped takes an answer. That there are no mail hosts, or none can be found out now, is
// one, too: the group is "" then, and the delivery will say what is wrong.
func (m *manager) grouped(l *lookup) {
	qs, q := &m.questions, l.fact
	qs.asked--
	delete(qs.open, q.hop)
	if len(qs.answers) >= answersMax {
		clear(qs.answers)
	}
	holds := max(l.holds, answerTime)
	if l.failed && len(l.hosts) == 0 {
		holds = answerFailed
	}
	qs.answers[q.hop] = answer{hosts: l.hosts, registered: l.group, until: m.spool.Now().Add(holds)}
	m.parking.join(&m.parking.again, &q.list)
	m.askNext()
}

// unanswered asks for all that is not known of the recipients that are to be tried, of a
// large message of the first slice, and returns a question that the message has to wait
// for; nil when something of it can go: what cannot waits in its next pass.
func (m *manager) unanswered(msg *message) (q *question) {
	if !m.book.policy.UsesMX() {
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
			q = m.questions.open[hopName{m.book.facts.Transport, m.book.facts.NextHop}]
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
