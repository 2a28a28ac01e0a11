package bounce

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"postrider/lib/agent"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/proto"
	"postrider/lib/submit"
)

// bouncer makes reports. Its methods may be called by many goroutines.
type bouncer struct {
	set    atomic.Pointer[settings]
	submit submit.Client
	ids    mail.IDs
	log    *maillog.Logger
	now    func() time.Time
}

// maxReplaced bounds how many bytes the numbers of the recipients take that one
// report replaces: they must fit into a frame of the submit conversation. It is more
// than ten thousand recipients. The others are left out of the result: they are
// reported in a later pass.
const maxReplaced = proto.SubmitMax - 4096

// handle answers one request of qmgr (agent.Handler).
func (b *bouncer) handle(_ context.Context, r *agent.Request) proto.Result {
	set := b.set.Load()
	switch r.NextHop {
	case proto.ReportFailure:
		return b.failure(set, r)
	case proto.ReportDelay:
		return b.delay(set, r)
	case proto.ReportSuccess:
		return b.success(set, r)
	case proto.ReportVerify:
		return b.trace(set, r, verified)
	case proto.ReportRecord:
		return b.trace(set, r, recorded)
	}
	return agent.Deferred(r, mail.Status{DSN: "4.3.5", Text: fmt.Sprintf("bounce cannot report %q", r.NextHop)})
}

// failure reports permanent failures: to the sender; or, when that is nobody, to the
// postmaster if he wants it; or, when even that has failed, to the log alone.
func (b *bouncer) failure(set *settings, r *agent.Request) proto.Result {
	switch {
	case sameAddress(r.Sender, set.double):
		b.log.Event(maillog.Warning{Queue: r.Queue, Text: "undeliverable postmaster notification discarded"})
		return dropped(r)
	case r.Sender == "" && !set.doubles:
		b.log.Event(maillog.Info{Queue: r.Queue, Text: "non-delivery notification discarded: the sender is <> and notify_classes has no 2bounce"})
		return dropped(r)
	case r.Sender == "":
		res, _ := b.send(&report{set: set, r: r, kind: failed, recipients: all(r), replace: true,
			from: set.double, to: set.doublesTo, postmaster: true})
		return res
	}
	rep := &report{set: set, r: r, kind: failed, replace: true, to: r.Sender,
		recipients: wanting(r, mail.NotifyFailure), headersOnly: strings.EqualFold(r.Ret, "HDRS")}
	if len(rep.recipients) == 0 {
		return dropped(r)
	}
	res, ok := b.send(rep)
	if ok && set.copyFailures {
		// Not critical: without it the sender's report stands.
		b.copyTo(rep, set.failuresTo)
	}
	return res
}

// delay warns the sender that mail is late; there is more to come.
func (b *bouncer) delay(set *settings, r *agent.Request) proto.Result {
	if r.Sender == "" || sameAddress(r.Sender, set.double) {
		return dropped(r)
	}
	rep := &report{set: set, r: r, kind: delayed, to: r.Sender, recipients: wanting(r, mail.NotifyDelay), headersOnly: true}
	if len(rep.recipients) == 0 {
		return dropped(r)
	}
	res, ok := b.send(rep)
	if ok && set.copyDelays {
		b.copyTo(rep, set.delaysTo)
	}
	return res
}

// success tells those who asked for it that mail has arrived.
func (b *bouncer) success(set *settings, r *agent.Request) proto.Result {
	rep := &report{set: set, r: r, kind: delivered, to: r.Sender, headersOnly: true}
	for _, i := range all(r) {
		if r.Recipients[i].Notify&mail.NotifySuccess != 0 {
			rep.recipients = append(rep.recipients, i)
		}
	}
	if r.Sender == "" || sameAddress(r.Sender, set.double) || len(rep.recipients) == 0 {
		return dropped(r)
	}
	res, _ := b.send(rep)
	return res
}

// trace tells the sender what became, or would, of each recipient, as he asked for it. The
// report takes the place of what was verified.
func (b *bouncer) trace(set *settings, r *agent.Request, k kind) proto.Result {
	if r.Sender == "" || sameAddress(r.Sender, set.double) {
		return dropped(r)
	}
	res, _ := b.send(&report{set: set, r: r, kind: k, to: r.Sender, recipients: all(r), headersOnly: true, replace: k == verified})
	return res
}

// copyTo sends the postmaster the headers of what rep reports.
func (b *bouncer) copyTo(rep *report, postmaster mail.Address) {
	c := *rep
	c.from, c.to, c.postmaster, c.headersOnly, c.replace = rep.set.double, postmaster, true, true, false
	b.send(&c)
}

// send gives a report to cleanup. It says what qmgr is to do with the recipients, and
// whether the report is in the queue.
func (b *bouncer) send(rep *report) (proto.Result, bool) {
	o, err := examine(&rep.r.Content, rep.set.sizeLimit)
	if err != nil {
		if !errors.Is(err, agent.ErrContent) {
			b.log.Event(maillog.Warning{Queue: rep.r.Queue, Text: err.Error()})
		}
		return agent.Deferred(rep.r, agent.ContentStatus), false
	}
	rep.orig = o
	if rep.replace {
		rep.limit()
	}
	err = b.submitReport(rep)
	var refused *submit.Refused
	if errors.As(err, &refused) && refused.Code/100 == 5 && !rep.headersOnly {
		rep.headersOnly = true // too much of it, perhaps
		err = b.submitReport(rep)
	}
	if err == nil {
		b.log.Session(rep.r.Lane).Event(maillog.BounceNotice{Queue: rep.r.Queue, Kind: rep.notice(), New: rep.id})
		return rep.result(), true
	}
	// Also when nobody knows (submit.ErrUnknown): should the report be in the
	// journal after all, qmgr has read it, and crossed the recipients off, long
	// before it tries again.
	st := mail.Status{Class: mail.Deferred, DSN: "4.3.0", Text: "cannot queue the report: " + err.Error()}
	if errors.Is(err, submit.ErrSuspect) {
		rep.r.Suspect(err.Error())
	}
	if errors.As(err, &refused) {
		st.DSN, st.Text = "4"+strings.TrimLeft(refused.DSN, "245"), "cannot queue the report: "+refused.Text
	}
	b.log.Event(maillog.Warning{Queue: rep.r.Queue, Text: string(rep.notice()) + " failed: " + err.Error()})
	res := agent.Deferred(rep.r, st)
	if submit.IsTemporary(err) {
		res.Hop = st
	}
	return res, false
}

func (b *bouncer) submitReport(rep *report) error {
	now := b.now()
	rep.id, rep.made = b.ids.Next(now), now
	env := &mail.Envelope{ID: rep.id, Sender: rep.from, Recipients: []mail.Recipient{{Address: rep.to}},
		Arrival: now, Origin: mail.FromBounce, UTF8: rep.r.UTF8, Body: mail.Body7Bit}
	if rep.eightBit() {
		env.Body = mail.Body8Bit
	}
	if rep.replace {
		env.Replaces = mail.Replaces{ID: rep.r.Queue, File: rep.r.File, Slot: rep.r.Slot}
		for _, i := range rep.recipients {
			env.Replaces.Recipients = append(env.Replaces.Recipients, rep.r.Recipients[i].Index)
		}
	}
	m := b.submit.Begin(env, true)
	if err := rep.write(m); err != nil {
		m.Abort()
		return err
	}
	return m.Close()
}

// dropped is the result that nobody is told, and that is all there is to do.
func dropped(r *agent.Request) proto.Result {
	rep := report{r: r}
	return rep.result()
}

// result is that of a request whose report is durable: the reported recipients are
// taken over by it, the others, whose sender wants to hear nothing, are done.
func (rep *report) result() proto.Result {
	r := rep.r
	res := proto.Result{Hop: mail.Status{Class: mail.Sent}, Recipients: make([]proto.RecipientResult, 0, len(r.Recipients))}
	next := 0
	for i := range r.Recipients {
		if _, left := rep.left[i]; left {
			continue
		}
		rr := proto.RecipientResult{Index: r.Recipients[i].Index, Status: mail.Status{Class: mail.Sent, DSN: "2.0.0"}}
		if next < len(rep.recipients) && rep.recipients[next] == i {
			next++
			rr.Replaced = rep.replace
		}
		res.Recipients = append(res.Recipients, rr)
	}
	return res
}

// limit leaves out what is too much for one report.
func (rep *report) limit() {
	size := 0
	for n, i := range rep.recipients {
		for v := rep.r.Recipients[i].Index; ; v >>= 7 {
			size++
			if v < 0x80 {
				break
			}
		}
		if size > maxReplaced {
			rep.left = make(map[int]struct{}, len(rep.recipients)-n)
			for _, i := range rep.recipients[n:] {
				rep.left[i] = struct{}{}
			}
			rep.recipients = rep.recipients[:n]
			return
		}
	}
}

func all(r *agent.Request) []int {
	l := make([]int, len(r.Recipients))
	for i := range l {
		l[i] = i
	}
	return l
}

// wanting returns the places of the recipients whose sender wants to hear of event,
// failure or delay: those who said so and those who said nothing (RFC 3461, 4.1).
func wanting(r *agent.Request, event mail.Notify) []int {
	var l []int
	for i := range r.Recipients {
		n := r.Recipients[i].Notify
		if n == 0 || n&event != 0 && n&mail.NotifyNever == 0 {
			l = append(l, i)
		}
	}
	return l
}

func sameAddress(a, b mail.Address) bool { return strings.EqualFold(string(a), string(b)) }
