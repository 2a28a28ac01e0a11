package qmgr

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	libagent "postrider/lib/agent"
	"postrider/lib/ipc"
	libjournal "postrider/lib/journal"
	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/slot"
)

// frame is what the test's cleanup does with a frame: of a requeue it tells the test.
func (s *site) frame(c *ipc.Conn, f *ipc.Frame) {
	s.mu.Lock()
	anew := s.anew
	s.mu.Unlock()
	if f.Type == proto.TypeDrain {
		var d proto.Drain
		d.Decode(f.Payload)
		if s.undrained {
			return
		}
		at := s.journal.Durable()
		c.Send(proto.TypeDrained, &proto.Drained{Program: d.Program, PID: d.PID, At: proto.Durable{File: at.File, Offset: at.Offset}})
		return
	}
	var r proto.Requeue
	if f.Type != proto.TypeRequeue || anew == nil || r.Decode(f.Payload) != nil || len(f.FDs) != 1 {
		f.CloseFDs()
		return
	}
	file := os.NewFile(uintptr(f.FDs[0]), "requeued")
	b, err := io.ReadAll(io.NewSectionReader(file, 0, r.Envelope+r.Size))
	file.Close()
	env, derr := mail.DecodeEnvelope(b[:r.Envelope])
	if err != nil || derr != nil {
		s.t.Errorf("requeue: %v, %v", err, derr)
		return
	}
	go anew(env, b[r.Envelope:], func(code int) {
		c.Send(proto.TypeRequeued, &proto.Requeued{Seq: r.Seq, Code: code, DSN: "4.3.1", Text: "Insufficient system storage"})
	})
}

// append makes a requeued message durable under a new id.
func (s *site) append(env *mail.Envelope, content []byte) mail.QueueID {
	env.ID = s.ids.Next(time.Now())
	errs := make(chan error, 1)
	s.journal.Append(&libjournal.Message{Envelope: env, Content: content}, func(_ slot.Ref, err error) { errs <- err })
	if err := <-errs; err != nil {
		s.t.Error(err)
	}
	return env.ID
}

// asked is what the test's cleanup was asked.
type asked struct {
	env     *mail.Envelope
	content []byte
	answer  func(code int)
}

func (s *site) asked() chan asked {
	c := make(chan asked, 100)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.anew = func(env *mail.Envelope, content []byte, answer func(int)) { c <- asked{env, content, answer} }
	return c
}

func (s *site) do(kind proto.VerbKind, id mail.QueueID) *proto.Done {
	s.t.Helper()
	done, err := s.operator().Do(&proto.Verb{Kind: kind, IDs: []string{string(id)}})
	if err != nil {
		s.t.Fatal(err)
	}
	return done
}

func (s *site) only(want ...string) {
	s.t.Helper()
	slices.Sort(want)
	s.until("queue "+strings.Join(want, ", "), func() bool { q := s.queue(); slices.Sort(q); return slices.Equal(q, want) })
}

// What an agent has in hand stays with the old message; the rest goes to cleanup, once
// that is over, and the old message ends when the new one is tailed.
func TestRequeueInHand(t *testing.T) {
	s := newSite(t)
	hold := make(chan struct{})
	s.set(func(r *libagent.Request) proto.Result {
		if r.Recipients[0].Address == "slow@x.test" {
			<-hold
			return all(r, mail.Status{Class: mail.Sent, DSN: "2.0.0"})
		}
		return all(r, busy)
	})
	anew := s.asked()
	id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("b@y.test", "slow@x.test", "c@z.test")})
	s.until("attempts", func() bool {
		return s.attempts(id, "slow@x.test")+s.attempts(id, "b@y.test")+s.attempts(id, "c@z.test") == 3
	})
	if done := s.do(proto.VerbRequeue, id); done.Count != 1 || done.InHand != 1 || len(done.IDs) != 1 {
		t.Errorf("%+v", done)
	}
	s.logged("%s: requeued", id)
	select {
	case a := <-anew:
		t.Fatalf("requeued %+v while one is in hand", a.env)
	default:
	}
	close(hold)
	a := <-anew
	if r := a.env.Replaces; r.ID != id || !slices.Equal(r.Recipients, []uint32{0, 2}) || len(a.env.Recipients) != 2 || a.env.Recipients[1].Address != "c@z.test" ||
		!bytes.Contains(a.content, []byte(id)) {
		t.Errorf("%+v", a.env)
	}
	// While it is on its way it is neither deleted nor held.
	for _, kind := range []proto.VerbKind{proto.VerbDelete, proto.VerbHold, proto.VerbRequeue, proto.VerbExpire} {
		if done := s.do(kind, id); done.Count != 0 || len(done.Skipped) != 1 {
			t.Errorf("verb %d: %+v", kind, done)
		}
	}
	s.set(func(r *libagent.Request) proto.Result { return all(r, mail.Status{Class: mail.Sent, DSN: "2.0.0"}) })
	next := s.append(a.env, a.content)
	a.answer(0)
	s.logged("%s: removed", id)
	s.logged("%s: removed", next)
	s.only()
	if s.attempts(id, "b@y.test") != 1 || s.attempts(next, "b@y.test") != 1 || s.attempts(next, "slow@x.test") != 0 {
		t.Error("attempts")
	}
}

// A cleanup that cannot take it leaves the old message as it is, to be tried again.
func TestRequeueRefused(t *testing.T) {
	s := newSite(t)
	s.set(func(r *libagent.Request) proto.Result { return all(r, busy) })
	anew := s.asked()
	id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("b@y.test")})
	s.only("deferred " + string(id))
	s.do(proto.VerbHold, id)
	s.do(proto.VerbRequeue, id)
	a := <-anew
	a.answer(452)
	s.logged("%s: cannot be requeued now: 452 4.3.1 Insufficient system storage", id)
	s.only("deferred " + string(id))
	if done := s.do(proto.VerbDelete, id); done.Count != 1 {
		t.Errorf("%+v", done)
	}
	s.only()
}

// A kill of qmgr while cleanup has it leaves one copy, whether the new message became
// durable or not.
func TestRequeueKill(t *testing.T) {
	for _, durable := range []bool{true, false} {
		s := newSite(t)
		s.set(func(r *libagent.Request) proto.Result { return all(r, busy) })
		anew := s.asked()
		id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("b@y.test", "c@y.test")})
		s.only("deferred " + string(id))
		s.do(proto.VerbRequeue, id)
		a := <-anew
		s.kill()
		var next mail.QueueID
		if durable {
			next = s.append(a.env, a.content)
		}
		s.start()
		if !durable { // asked again
			a = <-anew
			next = s.append(a.env, a.content)
			a.answer(0)
		}
		s.only("deferred " + string(next))
		if len(anew) != 0 {
			t.Error("asked once more")
		}
	}
}

// A message that nobody tried yet goes back with the reason that it was expired.
func TestExpireActive(t *testing.T) {
	s := newSite(t)
	hold := make(chan struct{})
	reported := make(chan mail.Status, 10)
	s.set(func(r *libagent.Request) proto.Result {
		if r.Service == bounceService {
			for i := range r.Recipients {
				reported <- r.Recipients[i].Status
			}
			return all(r, mail.Status{Class: mail.Sent})
		}
		<-hold
		return all(r, busy)
	})
	id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("b@y.test")})
	s.until("an attempt", func() bool { return s.attempts(id, "b@y.test") == 1 })
	if done := s.do(proto.VerbExpire, id); done.Count != 1 || done.InHand != 1 {
		t.Errorf("%+v", done)
	}
	close(hold)
	if st := <-reported; st.Class != mail.Bounced || st.Text != busy.Text {
		t.Errorf("%+v", st)
	}
	s.logged("%s: from=<a@x.test>, status=force-expired, returned to sender", id)
	s.only()
}
