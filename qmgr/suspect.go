package qmgr

import (
	"fmt"
	"strings"
	"time"

	"postrider/lib/crash"
	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/sched"
	"postrider/lib/spool"
)

// What an agent had in hand when it died by its own fault is suspect. It is not given
// to the agent that all share again, but set aside (aside.go) and tried one at a time
// by a process of its own. An ordinary result lifts the suspicion; a death there is a
// strike, which is durable before the next try, and two send the message to corrupt/.

// guilty is the number of deaths alone after which a message is not tried again.
const guilty = 2

// verdictTime is how long master may take to say how an agent died.
const verdictTime = 5 * time.Second

// deathsKept is how long it is remembered how a process died whose end is not seen yet.
const deathsKept = time.Minute

// lost is what an agent had in hand that is gone.
type loss struct {
	agent *agent
	gone  []*delivery
}

// mourn decides what becomes of what a dead agent had in hand, once master has said
// how it died; the end of the connection may be seen before that, or after.
func (m *manager) mourn(a *agent, gone []*delivery) {
	if d, ok := m.deaths[a.pid]; ok {
		delete(m.deaths, a.pid)
		m.judge(a, gone, d.Fault)
		return
	}
	if m.verdict == 0 {
		m.judge(a, gone, "")
		return
	}
	m.unjudged[a.pid] = append(m.unjudged[a.pid], loss{a, gone})
	m.after(m.verdict, func() { m.died(proto.Died{Partner: a.name, PID: a.pid}) })
}

// died hears from master how a partner ended.
func (m *manager) died(d proto.Died) {
	list := m.unjudged[d.PID]
	delete(m.unjudged, d.PID)
	for _, l := range list {
		m.judge(l.agent, l.gone, d.Fault)
	}
	if list == nil && d.Partner != "cleanup" {
		m.deaths[d.PID] = d
		m.after(deathsKept, func() { delete(m.deaths, d.PID) })
		m.diedUnseen(d)
	}
}

// judge takes back what a dead agent had in hand, with the suspicion that falls on
// it. What bounce and local had may be in the journal already: that waits until
// cleanup has said so.
func (m *manager) judge(a *agent, gone []*delivery, fault string) {
	for _, d := range gone {
		d.fault = fault
	}
	if fault != "" && len(gone) > 0 {
		m.log.Warnf("%s died (%s) with %d deliveries in hand: they are suspect, and tried one at a time", a.name, fault, len(gone))
	}
	if a.alone {
		m.aloneDown(a)
	}
	switch {
	case len(gone) == 0:
	case m.stopping: // cleanup may be gone before it answers; the next start reads the journal first
		m.leave(gone)
	case submits(a.program):
		x := dead{a.program, a.pid}
		m.lost[x] = append(m.lost[x], gone...)
		m.askDrain(x)
	default:
		m.takeBack(gone)
	}
}

// suspected begins the reason that operators see, and tried ends it.
const (
	suspected  = "suspected: "
	triedAlone = "; it is tried alone"
)

// someHow is how an agent died when that is not known any more.
const someHow = "an agent died while delivering"

// accuse takes back a delivery whose agent died by its own fault.
func (m *manager) accuse(d *delivery) {
	how := fmt.Sprintf("%s died (%s) while delivering", d.agent.program, d.fault)
	msg := d.msg
	if d.entry == 0 {
		m.release(d)
		msg = m.byRef[d.ref]
	}
	switch {
	case msg == nil:
	case d.alone:
		m.strike(msg, d, how)
	case d.entry == 0: // of an earlier qmgr, which alone knew where to
		m.untried(msg, d)
		m.resume(msg)
	default:
		delete(m.inHand, d.entry)
		msg.suspect = how
		m.setAside(msg, d.agent.program, d)
		m.machine.Result(m.now(), d.entry, sched.HopResult{Unknown: true})
	}
}

// confessed takes the result of an agent that survived a panic. It names its message
// for certain, so it counts as a death alone.
func (m *manager) confessed(a *agent, d *delivery, r *proto.Result) {
	msg := d.msg
	if d.entry == 0 {
		m.release(d)
		if msg = m.byRef[d.ref]; msg == nil {
			return
		}
	} else {
		delete(m.inHand, d.entry)
		a.busy--
	}
	if !d.alone && d.entry != 0 {
		x := m.setAside(msg, a.program, d)
		m.machine.Result(m.now(), d.entry, sched.HopResult{Unknown: true})
		m.asides[a.program].remove(x)
		d = x
	}
	m.strike(msg, d, r.Fault)
}

// strike counts a death alone. d is not in hand any more.
func (m *manager) strike(msg *message, d *delivery, how string) {
	n := m.spool.Suspect(msg.Message)
	msg.suspect = how
	m.log.Warnf("%s: %s%s, alone (%d of %d)", msg.Envelope.ID, suspected, how, n, guilty)
	if n >= guilty {
		m.condemn(msg, how)
		m.putBack(msg, d)
		return
	}
	if d.msg == nil { // of an earlier qmgr: it is set aside when it is admitted next
		m.untried(msg, d)
		m.resume(msg)
		return
	}
	m.shame(msg, d)
	m.spool.Save(msg.Message, m.standingOf(msg)) // so that the next qmgr knows how
	s := m.asideOf(d.program)
	s.syncing++
	m.spool.Sync(func(err error) {
		s.syncing--
		if err == nil { // else the spool is being closed
			s.list = append([]*delivery{d}, s.list...)
		}
	})
}

// condemn has a message go to corrupt/ as soon as nobody has it in hand.
func (m *manager) condemn(msg *message, how string) {
	msg.corrupt = fmt.Sprintf("%s%s, %d times alone: it is not tried again", suspected, how, guilty)
	m.machine.Withdraw(m.now(), msg.id)
	for _, s := range m.asides {
		for _, d := range s.of(msg) {
			s.remove(d)
			m.putBack(msg, d)
		}
	}
}

// shame writes the reason to the recipients, for operators.
func (m *manager) shame(msg *message, d *delivery) {
	for _, n := range d.recipients {
		if r := &msg.rcpts[n]; r.state == foreign && r.status.Class != mail.Bounced {
			r.status = msg.share(mail.Status{Class: mail.Deferred, DSN: "4.3.0", Text: suspected + msg.suspect + triedAlone})
		}
	}
}

// standingOf is what the state record of a message says when it is filed now.
func (m *manager) standingOf(msg *message) spool.State {
	now := m.spool.Now()
	s := msg.State
	s.Done, s.Groups = msg.done(), msg.groups(now, now, m.queueNames())
	return s
}

// howOf is how an agent died with a message in hand, as its state record says.
func howOf(msg *message) string {
	for i := range msg.State.Groups {
		how, is := strings.CutPrefix(msg.State.Groups[i].Status.Text, suspected)
		if how, tried := strings.CutSuffix(how, triedAlone); is && tried {
			return how
		}
	}
	return someHow
}

// lift ends the suspicion: the delivery d came to an ordinary end in a process alone.
func (m *manager) lift(msg *message, d *delivery) {
	msg.aside--
	if msg.aside > 0 || msg.corrupt != "" {
		return
	}
	m.log.Infof("%s: not suspected any more", msg.Envelope.ID)
	msg.suspect = ""
	if msg.Strikes > 0 {
		m.spool.Absolve(msg.Message)
	}
}

// onRecord gives a message that is admitted the suspicion that the spool remembers.
// True: it is condemned and gone.
func (m *manager) onRecord(msg *message) bool {
	switch {
	case msg.Strikes >= guilty: // qmgr died before it was moved
		msg.corrupt = fmt.Sprintf("%s%s, %d times alone: it is not tried again", suspected, howOf(msg), guilty)
		m.quarantine(msg)
		return true
	case m.records.condemned(ofMessage, msg.Ref) != "":
		msg.corrupt = m.records.condemned(ofMessage, msg.Ref)
		m.quarantine(msg)
		return true
	case msg.Strikes > 0:
		msg.suspect = howOf(msg)
	}
	if crash.Planted {
		for i := range msg.Envelope.Recipients {
			crash.At("admit", []byte(msg.Envelope.Recipients[i].Address))
		}
	}
	return false
}

// unfinishedMax is how many recipients a .reason names.
const unfinishedMax = 100

// unfinishedText names the recipients that a message in corrupt/ still had, so that
// an operator can bring it back for them.
func unfinishedText(msg *message) string {
	left := len(msg.rcpts) - msg.count(finished)
	if left == 0 {
		return ""
	}
	text, n := "; not finished:", 0
	for i := range msg.rcpts {
		if msg.rcpts[i].state == finished {
			continue
		}
		if n++; n > unfinishedMax {
			return fmt.Sprintf("%s and %d more", text, left-unfinishedMax)
		}
		text += fmt.Sprintf(" <%s>", msg.Envelope.Recipients[i].Address)
	}
	return text
}
