package extract

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"postrider/lib/mail"
	"postrider/lib/maildrop"
	"postrider/lib/spool"
)

// envelope is the text of an ID.envelope: a line for each fact, "name: value",
// with the control characters of a value as \xNN. Facts about the message come
// first; each line "recipient:" begins a recipient, and the lines up to the next
// one are about it. Only recipients that are not finished are there.
type envelope struct{ b []byte }

func (e *envelope) line(name, value string) {
	e.b = append(append(e.b, name...), ": "...)
	for i := range len(value) {
		if c := value[i]; c < ' ' || c == 0x7f {
			e.b = fmt.Appendf(e.b, `\x%02x`, c)
		} else {
			e.b = append(e.b, c)
		}
	}
	e.b = append(e.b, '\n')
}

// some writes the line when there is a value.
func (e *envelope) some(name, value string) {
	if value != "" {
		e.line(name, value)
	}
}

func (e *envelope) time(name string, t time.Time) {
	if !t.IsZero() {
		e.line(name, t.UTC().Format("2006-01-02T15:04:05Z"))
	}
}

// head writes what every message has.
func (e *envelope) head(id, queue string, sender mail.Address, arrival time.Time, size int64) {
	e.line("id", id)
	e.line("queue", queue)
	e.line("sender", string(sender)) // "sender: " with nothing behind is the null sender
	e.time("arrival", arrival)
	e.line("size", strconv.FormatInt(size, 10))
}

var bodies = map[mail.Body]string{mail.Body7Bit: "7BIT", mail.Body8Bit: "8BITMIME"}

// facts writes what the envelope of a message in the queue says of it as a whole.
func (e *envelope) facts(v *mail.Envelope, queue string, size int64) {
	e.head(string(v.ID), queue, v.Sender, v.Arrival, size)
	e.some("client-name", v.Client.Name)
	e.some("client-address", v.Client.Addr)
	e.some("body", bodies[v.Body])
	if v.UTF8 {
		e.line("smtputf8", "yes")
	}
	e.some("envid", v.EnvID)
	e.some("ret", v.Ret)
	e.some("verp", v.VERP)
}

// recipient begins a recipient with what the envelope says of it.
func (e *envelope) recipient(r *mail.Recipient) {
	e.line("recipient", string(r.Address))
	e.some("original", string(r.Original))
	e.some("orcpt", r.ORCPT)
	e.notify(r.Notify)
}

// message describes an unfinished message.
func (e *envelope) message(m *spool.Found) {
	v := m.Envelope
	e.facts(v, m.Queue, m.Size)
	if m.State.Expired {
		e.line("expired", "yes")
	}
	groups := make(map[uint32]*spool.Group)
	for i := range m.State.Groups {
		for _, n := range m.State.Groups[i].Recipients {
			groups[n] = &m.State.Groups[i]
		}
	}
	for _, n := range m.Unfinished() {
		r := &v.Recipients[n]
		e.recipient(r)
		if g := groups[n]; g != nil {
			e.line("attempts", strconv.FormatUint(uint64(g.Attempts), 10))
			e.time("due", g.Due.Add(-m.Offset))
			e.some("dsn", g.Status.DSN)
			e.some("reason", g.Status.Text)
		}
	}
}

// submission describes a file of maildrop/.
func (e *envelope) submission(name string, s *maildrop.Submission, size int64) {
	e.head(name, "maildrop", s.Sender, s.Time, size)
	e.line("uid", strconv.FormatUint(uint64(s.UID), 10))
	e.some("full-name", s.FullName)
	e.some("body", bodies[s.Body])
	e.some("envid", s.EnvID)
	e.some("ret", s.Ret)
	e.some("verp", s.VERP)
	for _, r := range s.Recipients {
		e.line("recipient", string(r))
		e.notify(s.Notify)
	}
}

// notify writes NOTIFY as in RFC 3461, unless it is the default.
func (e *envelope) notify(n mail.Notify) {
	var on []string
	for i, name := range []string{"NEVER", "SUCCESS", "FAILURE", "DELAY"} {
		if n>>i&1 != 0 {
			on = append(on, name)
		}
	}
	e.some("notify", strings.Join(on, ","))
}
