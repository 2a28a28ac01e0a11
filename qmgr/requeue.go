package qmgr

import (
	"hash/crc32"
	"os"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/sched"
	"postrider/lib/slot"
	"postrider/lib/spool"
)

// A message that is to be queued again (postsuper -r) says so in its state, which
// is durable before the command ends. Instead of an attempt it is then handed to
// cleanup, which takes it as if it came anew: the new message replaces the
// recipients of the old one, both in one entry of the log (S3), and the old one is
// finished when the new one is tailed. To the scheduler this is a delivery by a
// transport of its own, so that it has slots, counts as in hand, and pauses while
// there is no cleanup.
const (
	requeueService = ":requeue" // no line of master.cf can have that name
	requeueProgram = "cleanup"
	requeueInHand  = 20
	requeueDelay   = time.Minute // until cleanup is asked again after it refused
)

// wished does what an operator asked for instead of an attempt (postsuper -e, -f,
// -r). It reports whether he did; the message comes back to conclude.
func (m *manager) wished(msg *message) bool {
	in := sched.Message{ID: msg.id}
	switch {
	case m.mayRequeue(msg):
		msg.requeued = true
		for i := range msg.rcpts {
			if r := &msg.rcpts[i]; r.left() {
				r.state, r.due = trying, 0
				in.Recipients = append(in.Recipients, sched.Recipient{Index: uint32(i), Transport: requeueService})
			}
		}
	case msg.State.Expired:
		for i := range msg.rcpts {
			if r := &msg.rcpts[i]; r.state == trying {
				r.state = deferred
			}
		}
	default:
		return false
	}
	m.machine.Admit(m.now(), in)
	return true
}

// left says whether a recipient is unfinished and in nobody's hands.
func (r *recipient) left() bool {
	return r.state == trying || r.state == resting || r.state == deferred || r.state == failed
}

// mayRequeue says whether msg is to be handed to cleanup now, in this pass.
func (m *manager) mayRequeue(msg *message) bool {
	if !msg.State.Requeue || msg.requeued {
		return false
	}
	for i := range msg.rcpts {
		if msg.rcpts[i].left() {
			return true
		}
	}
	return false
}

// requeue hands recipients of a message to cleanup.
func (m *manager) requeue(entry sched.EntryID, msg *message, numbers []uint32) {
	m.inHand[entry] = &delivery{entry: entry, ref: msg.Ref, msg: msg, service: requeueService, recipients: numbers}
	env := *msg.Envelope
	env.Recipients = make([]mail.Recipient, 0, len(numbers))
	for _, n := range numbers {
		env.Recipients = append(env.Recipients, msg.Envelope.Recipients[n])
	}
	env.Replaces = mail.Replaces{ID: env.ID, File: msg.Ref.File, Slot: msg.Ref.Slot, Recipients: numbers}
	j, in := m.cleanup, msg.Message
	go func() {
		if err := j.requeue(m.spool, uint64(entry), &env, in); err != nil {
			code := 451
			if damaged(err) {
				code = proto.RequeueDamaged
			}
			m.post(func() { m.requeued(&proto.Requeued{Seq: uint64(entry), Code: code, DSN: "4.3.0", Text: err.Error()}) })
		}
	}()
}

// requeue sends a message to cleanup. An error is of reading, or of a descriptor to send; when the connection
// fails, whoever reads from it hears of it.
func (j *journal) requeue(q *spool.Queue, seq uint64, env *mail.Envelope, in *spool.Message) error {
	b := mail.AppendEnvelope(nil, env)
	r := &proto.Requeue{Seq: seq, Envelope: int64(len(b)), Size: in.Size, CRC: in.CRC}
	var files []*os.File
	if in.Large != "" {
		f, err := q.OpenLarge(in)
		if err != nil {
			return err
		}
		defer f.Close()
		file, ok := disk.Descriptor(f)
		if !ok {
			return os.ErrInvalid
		}
		files = append(files, file)
	} else {
		content, _, err := q.ReadContent(in, nil)
		if err != nil {
			return err
		}
		r.CRC = crc32.Checksum(content, castagnoli)
		b = append(b, content...)
	}
	f, err := sealed(b)
	if err != nil {
		return err
	}
	defer f.Close()
	fds := []int{int(f.Fd())}
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	return unsent(j.conn.SendFDs(proto.TypeRequeue, r, fds...))
}

// requeued takes cleanup's answer. What nobody knows the outcome of stays in hand
// until the next cleanup is there and the journal is read.
func (m *manager) requeued(r *proto.Requeued) {
	d := m.inHand[sched.EntryID(r.Seq)]
	if d == nil || d.service != requeueService || r.Code == proto.SubmitUnknown {
		return
	}
	delete(m.inHand, d.entry)
	switch {
	case r.Code == proto.RequeueDamaged:
		d.msg.corrupt = r.Text
	case r.Code != 0:
		m.log.Warnf("%s: cannot be requeued now: %d %s %s", d.msg.Envelope.ID, r.Code, r.DSN, r.Text)
	}
	for _, n := range d.recipients {
		rc := &d.msg.rcpts[n]
		switch {
		case rc.state != trying: // the new message was tailed before the answer came
		case r.Code == 0:
			rc.state = replaced
		default:
			rc.state, rc.due = deferred, m.now().Add(requeueDelay)
		}
	}
	m.machine.Result(m.now(), d.entry, sched.HopResult{OK: true})
}

// requeuesBack takes back what was in a dead cleanup's hands, and in the journal it
// left is not.
func (m *manager) requeuesBack() { m.takeBack(m.withCleanup()) }

// leaveRequeues forgets, while we stop, what no cleanup will answer any more: the next
// start reads first what is in the journal.
func (m *manager) leaveRequeues() {
	if m.stopping && m.cleanup == nil {
		m.leave(m.withCleanup())
	}
}

// withCleanup are the messages in cleanup's hands.
func (m *manager) withCleanup() (all []*delivery) {
	for _, d := range m.inHand {
		if d.service == requeueService {
			all = append(all, d)
		}
	}
	return all
}

// requeuing says whether a message is being replaced by a new one.
func (m *manager) requeuing(ref slot.Ref) bool {
	msg := m.byRef[ref]
	if msg == nil || !msg.requeued {
		return false
	}
	for _, d := range m.inHand {
		if d.service == requeueService && d.msg == msg {
			return true
		}
	}
	return msg.count(replaced) > 0
}
