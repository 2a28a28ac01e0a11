package calls

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/lib/maildrop"
	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/source"
	"postrider/test/supervisor"
	"postrider/test/world"
)

// site is a place in the programs where a call is made.
type site struct{ program, op, place string }

func (s site) String() string { return s.program + " " + s.op + " " + s.place }

// rig is a system under a supervisor.
type rig struct {
	*world.World
	t *testing.T

	mu     sync.Mutex
	counts map[site]int // calls since the cycle began
	plan   *plan        // nil: nothing happens
	cycle  int

	acting sync.WaitGroup // what the plan does now

	said string // what is tried now
}

// plan is what a cycle does to the programs.
type plan struct {
	site    site
	k       int // from which call of the site on
	forever bool
	answer  supervisor.Answer
	do      func(supervisor.Call) // in place of Answer.Do, with the call
	met     bool
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, counts: map[site]int{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("cycle %d: %s", r.cycle, r.said)
		}
	})
	r.World = world.Tagged(t, "smallfiles", "journal_inline_limit = 40000", "queue_minfree = 1000000")
	r.Crashes = false
	s := supervisor.New(t, r.decide)
	t.Cleanup(r.Kill) // before the supervisor waits for them
	r.Wrap = func(cmd *exec.Cmd) {
		if name := filepath.Base(cmd.Path); name == "master" || name == "sendmail" {
			s.Wrap(cmd)
		}
	}
	return r
}

// place says what kind of file a path is; "" is of no interest.
func (r *rig) place(path string) string {
	if path == "socket" {
		return path
	}
	if rest, ok := strings.CutPrefix(path, r.Queue); ok {
		dir, name, below := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		switch {
		case strings.HasPrefix(name, "ckpt"):
			return "checkpoint"
		case strings.HasSuffix(name, ".idx"):
			return "index"
		case below:
			return dir
		}
		return "queue"
	}
	if strings.HasPrefix(path, r.Mail+"/") {
		return "Maildir"
	}
	return ""
}

// decide is asked about every call.
func (r *rig) decide(c supervisor.Call) supervisor.Answer {
	place := r.place(c.Path)
	if place == "" {
		return supervisor.Answer{}
	}
	s := site{c.Program, c.Op, place}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[s]++
	p := r.plan
	if p == nil || s != p.site || r.counts[s] < p.k || p.met && !p.forever {
		return supervisor.Answer{}
	}
	p.met = true
	a := p.answer
	if p.do != nil {
		r.acting.Add(1)
		a.Do = func() { defer r.acting.Done(); p.do(c) }
	}
	return a
}

// arm begins a cycle.
func (r *rig) arm(p *plan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.counts)
	r.plan = p
	r.cycle++
}

// counted are the calls since the cycle began.
func (r *rig) counted() map[site]int { r.mu.Lock(); defer r.mu.Unlock(); return maps.Clone(r.counts) }

// disarm ends what the plan does and says whether it did it at all.
func (r *rig) disarm() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.plan
	r.plan = nil
	return p != nil && p.met
}

// stops says whether the system is stopped and started in this cycle.
func (r *rig) stops() bool { return r.cycle%2 == 0 }

// up waits for the greeting, and starts the system whenever it has ended.
func (r *rig) up() {
	r.t.Helper()
	for end := time.Now().Add(instance.Patience); ; time.Sleep(2 * time.Millisecond) {
		if r.Exited() {
			r.Launch()
		}
		if s, err := source.Dial(r.Addr); err == nil {
			s.Close()
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("no greeting after %v", instance.Patience)
		}
	}
}

// work is what the programs do in a cycle. Each step may fail; the ledger knows what the
// outside was told.
func (r *rig) work() {
	r.t.Helper()
	name := func(n int) string { return fmt.Sprintf("c%d-%d", r.cycle, n) }
	var ids []string
	var s *source.Session
	send := func(n, size int, to ...string) {
		var err error
		if s == nil {
			if s, err = source.Dial(r.Addr); err != nil {
				ids = append(ids, "")
				return
			}
		}
		for i := range to {
			to[i] = fmt.Sprintf(to[i], name(n))
		}
		o, err := s.Send(source.New(name(n), "sender@back.test", size, to...), &r.Ledger)
		if err != nil {
			s.Abort()
			s = nil
		}
		ids = append(ids, o.QueueID)
	}
	send(0, 4000, "later-%s-a@good.test", "%s-b@good.test")
	send(1, 1500, "later-%s@good.test")
	send(2, 1500, "later-%s@good.test")
	send(3, 30_000, "no-%s@good.test", "%s@"+instance.Domain, "%s@good.test")
	send(4, 60_000, "%s@good.test", "later-%s@good.test")
	if s != nil {
		s.Close()
	}
	r.submit(name(5))
	verb := func(option string, n int) {
		if ids[n] == "" || r.Exited() {
			return
		}
		if option == "-d" { // it may have worked whatever postsuper says
			r.Ledger.Deleted(name(n), fmt.Sprintf("later-%s@good.test", name(n)))
		}
		r.Try("", "postsuper", option, ids[n])
	}
	verb("-h", 1)
	verb("-d", 2)
	verb("-r", 0)
	if !r.Exited() {
		r.Hangup()
	}
	r.Try("", "postqueue", "-f")
	verb("-H", 1)
	if r.stops() {
		r.Terminate()
		r.Await("the end of master", r.Exited)
	}
	r.up()
}

// submit is a user of the machine who sends one message.
func (r *rig) submit(id string) {
	m := source.New(id, "sender@back.test", 20_000, id+"@"+instance.Domain, "no-"+id+"@good.test")
	r.Submit(r.t.Context(), func() (one *source.Message) { one, m = m, nil; return one })
}

// turn is one cycle with a plan: work, drain, judge. It returns what is wrong.
func (r *rig) turn(p *plan, duplicates int) (met bool, err error) {
	r.t.Helper()
	before := len(r.Ledger.Judge().Duplicates)
	begun := time.Now()
	r.arm(p)
	if p != nil && p.site.program == "qmgr" && r.stops() {
		duplicates = inCycle // agents that are stopped have no qmgr to tell what they have delivered
	}
	late := time.AfterFunc(3*time.Second, func() { // what fails for good is mended in the end
		r.mu.Lock()
		defer r.mu.Unlock()
		if p != nil && r.plan == p {
			p.forever = false
		}
	})
	r.work()
	late.Stop()
	met = r.disarm()
	r.acting.Wait()
	r.up()
	v := r.drain()
	if p != nil && p.site.place == "checkpoint" { // one that the disk does not give is put away, and the spool rebuilt
		duplicates = max(duplicates, inCycle)
		for name := range r.Files("corrupt") {
			if strings.HasPrefix(name, "corrupt/ckpt.") {
				os.Remove(filepath.Join(r.Queue, name))
			}
		}
	}
	if took := time.Since(begun); took > 40*time.Second {
		return met, fmt.Errorf("the cycle took %v", took)
	}
	return met, r.judge(v, len(v.Duplicates)-before, duplicates)
}

func (r *rig) drain() ledger.Verdict {
	r.t.Helper()
	r.Try("", "postsuper", "-H", "ALL") // it may have been the release that failed
	if len(r.Files(maildrop.Dir)) > 0 { // its postdrop could not say so: the next one does
		r.submit(fmt.Sprintf("c%d-next", r.cycle))
	}
	return r.Drain()
}

func (r *rig) judge(v ledger.Verdict, again, allowed int) error {
	switch f := r.Files("corrupt"); {
	case v.Err() != nil:
		return v.Err()
	case len(f) > 0:
		return fmt.Errorf("in corrupt/: %v", f)
	case len(v.Both) > 0:
		return fmt.Errorf("delivered and bounced: %v", v.Both)
	case again > allowed:
		return fmt.Errorf("%d delivered twice, %d allowed: %v", again, allowed, v.Duplicates)
	}
	return nil
}
