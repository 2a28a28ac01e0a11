package soak

import (
	"context"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"postrider/test/world"
)

// fault is something that happens to the system, and how many duplicates it may cause.
type fault struct {
	name       string
	do         func(*run)
	duplicates int
}

// run is a soak under way.
type run struct {
	*world.World
	t      *testing.T
	random *rand.Rand
	ctx    context.Context // of the load
}

// pause waits for a part of a second; the moment of the next fault is chance.
func (r *run) pause(most time.Duration) {
	select {
	case <-r.ctx.Done():
	case <-time.After(time.Duration(r.random.Int64N(int64(most)))):
	}
}

// some runs an operator's verb for some of what is queued.
func (r *run) some(verb string) {
	var ids string
	for _, q := range r.List() {
		if r.random.IntN(4) == 0 {
			ids += q.ID + "\n"
		}
	}
	if res := r.RunWith(ids, "postsuper", verb, "-"); res.Code != 0 {
		r.t.Errorf("postsuper %s -: %+v", verb, res)
	}
}

// harmless faults kill nothing.
var harmless = []fault{
	{"reload", func(r *run) { r.Must("master", "reload") }, 0},
	{"flush", func(r *run) { r.Must("postqueue", "-f") }, 0},
	{"listing", func(r *run) { r.Must("postqueue", "-p") }, 0},
	{"hold and release", func(r *run) { r.some("-h"); r.pause(time.Second); r.Must("postsuper", "-H", "ALL") }, 0},
	{"requeue", func(r *run) { r.some("-r") }, 0},
	{"a far end that refuses", func(r *run) { r.Slow.Refuse(); r.pause(3 * time.Second); r.Slow.Accept(r.t) }, world.InHand}, // it cuts sessions, past the dot too
	{"a far end that is busy", func(r *run) {
		r.Good.Do(busy)
		r.pause(3 * time.Second)
		r.Temper()
	}, 0},
	{"qmgr stands still", func(r *run) { r.still("qmgr") }, 0},
	{"cleanup stands still", func(r *run) { r.still("cleanup") }, 0},
	{"smtp stands still", func(r *run) { r.still("smtp") }, 0},
	{"the log is rotated", func(r *run) {
		if err := os.Rename(r.Dir+"/maillog", r.Dir+"/maillog.0"); err != nil {
			r.t.Error(err)
		}
		r.Must("master", "reload")
	}, 0},
}

// still stops a process for a moment that no timeout notices.
func (r *run) still(program string) {
	pid := r.PID(program)
	syscall.Kill(pid, syscall.SIGSTOP)
	r.pause(2 * time.Second)
	syscall.Kill(pid, syscall.SIGCONT)
}

// kills may repeat what the dead had in hand (S4).
var kills = []fault{
	{"kill cleanup", func(r *run) { r.KillOne("cleanup") }, 0},
	{"kill qmgr", func(r *run) { r.KillOne("qmgr") }, 0},
	{"kill smtpd", func(r *run) { r.KillOne("smtpd") }, 0},
	{"kill bounce", func(r *run) { r.KillOne("bounce") }, 0},
	{"kill smtp", func(r *run) { r.KillOne("smtp") }, world.Recipients * world.InHand},
	{"kill local", func(r *run) { r.KillOne("local") }, world.InHand},
	{"kill master", func(r *run) { r.KillMaster(); r.Start() }, 0},
	{"kill everything", func(r *run) { r.Kill(); r.Start() }, (world.Recipients + 1) * world.InHand},
	{"stop and start", func(r *run) {
		if err := r.Stop(); err != nil {
			r.t.Error(err)
		}
		r.Start()
	}, 0},
}
