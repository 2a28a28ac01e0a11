package qmgr

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	libagent "postrider/lib/agent"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

// die ends an agent with what it has in hand, by its own fault when there is one.
func (s *site) die(name, fault string) {
	s.t.Helper()
	told := make(chan struct{})
	pid := uint64(os.Getpid())
	s.m.post(func() {
		s.m.deaths[pid] = proto.Died{Partner: name, PID: pid, Fault: fault}
		close(told)
	})
	<-told
	a := s.agents[name]
	delete(s.agents, name)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	a.Stop(over)
	s.until("the end of "+name, func() bool { return ask(s.m, func() bool { return s.m.agents[name] == nil }) })
}

// wants waits until qmgr has asked for a process alone, n times in all.
func (s *site) wants(n int) {
	s.t.Helper()
	h := s.m.d.(*fakeHost)
	s.until("a process alone is asked for", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return slices.Contains(h.alone, "smtp") && count(h.alone, "smtp") == n
	})
}

func count(list []string, x string) (n int) {
	for _, y := range list {
		if x == y {
			n++
		}
	}
	return n
}

// reasons returns what a listing says of the message.
func (s *site) reasons(id mail.QueueID) string {
	return ask(s.m, func() string {
		for _, msg := range s.m.active {
			if msg.Envelope.ID == id {
				return msg.rcpts[0].status.Text
			}
		}
		return ""
	})
}

// TestSuspect: what an agent had in hand when it died by its own fault is tried by a
// process alone, one at a time, while others' mail flows; what is delivered there is
// suspect no more, and what kills twice goes to corrupt/, with qmgr killed in between.
func TestSuspect(t *testing.T) {
	s := newSite(t)
	hold := make(chan struct{})
	defer close(hold)
	s.set(func(r *libagent.Request) proto.Result {
		if strings.HasPrefix(string(r.Recipients[0].Address), "k") {
			<-hold
		}
		return all(r, mail.Status{Class: mail.Sent, DSN: "2.0.0", Text: "ok"})
	})
	killer := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("killer@k.test")})
	other := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("knight@n.test")})
	s.until("both in hand", func() bool { return s.attempts(killer, "killer@k.test")+s.attempts(other, "knight@n.test") == 2 })
	s.die("smtp.0", "SIGSEGV")
	s.connect("smtp.0")
	s.until("somebody to be asked", func() bool {
		h := s.m.d.(*fakeHost)
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.alone) > 0 || s.attempts(killer, "killer@k.test") > 1
	})
	if s.attempts(killer, "killer@k.test") > 1 {
		t.Fatal("a suspect is given to the agent that all share")
	}
	s.wants(1)
	for _, id := range []mail.QueueID{killer, other} {
		if got, want := s.reasons(id), "suspected: smtp died (SIGSEGV) while delivering; it is tried alone"; got != want {
			t.Errorf("a listing says of %s: %q, not %q", id, got, want)
		}
	}
	s.says(killer, `active, not tried yet\n    last reply: .*suspected: smtp died \(SIGSEGV\) while delivering; it is tried alone\n    suspected: waits for a smtp process of its own, which tries one delivery at a time`)
	if n := s.attempts(killer, "killer@k.test") + s.attempts(other, "knight@n.test"); n != 2 {
		t.Errorf("%d attempts before there is a process alone", n)
	}
	s.set(func(r *libagent.Request) proto.Result {
		if strings.HasPrefix(string(r.Recipients[0].Address), "killer") {
			<-hold
		}
		return all(r, mail.Status{Class: mail.Sent, DSN: "2.0.0", Text: "ok"})
	})
	s.connect("smtp.alone")
	s.until("a try alone", func() bool { return s.attempts(killer, "killer@k.test") == 2 })
	third := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("z@z.test")})
	s.logged("%s: removed", third) // by the agent that all share
	s.die("smtp.alone", "SIGABRT")
	s.logged("%s: suspected: smtp died (SIGABRT) while delivering, alone (1 of 2)", killer)
	s.wants(2)

	s.kill() // the strike is on the disk
	s.start()
	s.wants(1)
	if got, want := s.reasons(killer), "suspected: smtp died (SIGABRT) while delivering; it is tried alone"; got != want {
		t.Errorf("after a restart a listing says %q, not %q", got, want)
	}
	s.connect("smtp.alone")
	s.until("another try alone", func() bool { return s.attempts(killer, "killer@k.test") == 3 })
	s.die("smtp.alone", "SIGABRT")
	s.logged("saving corrupt message %s to queue corrupt: suspected: smtp died (SIGABRT) while delivering, 2 times alone", killer)
	b, err := os.ReadFile(filepath.Join(s.dir, "corrupt", string(killer)+".reason"))
	if err != nil || !strings.Contains(string(b), "not finished: <killer@k.test>") {
		t.Errorf("%v: %s", err, b)
	}
	if s.attempts(other, "knight@n.test") == 1 { // it waited behind the killer
		s.wants(2)
		s.connect("smtp.alone")
	}
	s.logged("%s: removed", other)
	s.until("the process alone is let go", func() bool { return ask(s.m, func() bool { return len(s.m.asides) == 0 }) })
}

// TestSuspectElsewhere: a suspect that waits for its process goes where a reload says.
func TestSuspectElsewhere(t *testing.T) {
	s := newSite(t, "relayhost = [old.test]")
	hold := make(chan struct{})
	defer close(hold)
	went := make(chan string, 1)
	s.set(func(r *libagent.Request) proto.Result {
		if r.NextHop == "[old.test]" {
			<-hold
		} else {
			went <- r.NextHop
		}
		return all(r, sent)
	})
	id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("one@n.test", "two@n.test", "no@gone.test", "odd@odd.test")})
	s.until("in hand", func() bool { return s.attempts(id, "one@n.test") == 1 })
	s.die("smtp.0", "SIGSEGV")
	s.connect("smtp.0")
	s.wants(1)
	s.reload("relayhost = [new.test]", "transport_maps = inline:{ { gone.test = discard:away }, { odd.test = nothing:there } }")
	s.connect("smtp.alone")
	if hop := <-went; hop != "[new.test]" {
		t.Errorf("went to %s", hop)
	}
	s.logged("%s: not suspected any more", id)
	s.says(id, `odd@odd\.test \(by nothing to there\)\n    deferred, not tried yet\n    last reply: mail transport unavailable`)
	if n := s.attempts(id, "one@n.test"); n != 2 || s.attempts(id, "no@gone.test") != 1 {
		t.Errorf("%d and %d attempts", n, s.attempts(id, "no@gone.test"))
	}
}

// TestBlameless: a kill from outside makes nothing suspect, alone or not.
func TestBlameless(t *testing.T) {
	s := newSite(t)
	hold := make(chan struct{})
	defer close(hold)
	s.set(func(r *libagent.Request) proto.Result {
		<-hold
		return all(r, mail.Status{Class: mail.Sent, DSN: "2.0.0", Text: "ok"})
	})
	id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("k@k.test")})
	s.until("in hand", func() bool { return s.attempts(id, "k@k.test") == 1 })
	s.die("smtp.0", "")
	s.connect("smtp.0")
	s.until("tried again by the agent that all share", func() bool { return s.attempts(id, "k@k.test") == 2 })
	s.die("smtp.0", "SIGSEGV")
	s.connect("smtp.0")
	s.wants(1)
	for n := 3; n < 7; n++ {
		s.connect("smtp.alone")
		s.until("tried alone", func() bool { return s.attempts(id, "k@k.test") == n })
		s.die("smtp.alone", "")
		s.wants(n - 1)
	}
	if strings.Contains(s.log.String(), "alone (") {
		t.Error("a kill from outside counts")
	}
}

// TestDrainBefore: before anything starts, cleanup has said that it has all that
// processes sent which died beside the last qmgr.
func TestDrainBefore(t *testing.T) {
	s := newSite(t)
	s.kill()
	s.undrained = true
	s.start()
	id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("k@k.test")})
	s.until("the question", func() bool {
		return ask(s.m, func() bool { return s.m.cleanup != nil && len(s.m.cleanup.others) == 2 })
	})
	if ask(s.m, func() bool { return s.m.started }) || s.attempts(id, "k@k.test") > 0 {
		t.Error("started before cleanup has answered")
	}
	ask(s.m, func() bool {
		for _, program := range submitting {
			s.m.drained(s.m.cleanup, &proto.Drained{Program: program})
		}
		return true
	})
	s.set(func(r *libagent.Request) proto.Result {
		return all(r, mail.Status{Class: mail.Sent, DSN: "2.0.0", Text: "ok"})
	})
	s.logged("%s: removed", id)
}
