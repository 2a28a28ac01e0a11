package qmgr

import (
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	libagent "postrider/lib/agent"
	"postrider/lib/disk"
	"postrider/lib/ipc"
	"postrider/lib/mail"
	liboperator "postrider/lib/operator"
	"postrider/lib/proto"
)

// A user has so many connections, all users together so many; what is left counts again.
func TestCrowdConnections(t *testing.T) {
	var c crowd
	var in []*user
	for range connectionsPerUser {
		in = append(in, c.enter(1))
	}
	if in[len(in)-1] == nil || c.enter(1) != nil {
		t.Error("the limit of a user")
	}
	for uid := uint32(2); uint32(c.all) < connectionsOfUsers; uid += uint32(c.all % 2) {
		if u := c.enter(uid); u != nil {
			in = append(in, u)
		} else {
			uid++
		}
	}
	if c.enter(1000) != nil {
		t.Error("the limit of all")
	}
	for _, u := range in {
		u.leave()
	}
	if c.all != 0 || len(c.users) != 0 {
		t.Errorf("%d connections, %d users are left", c.all, len(c.users))
	}
}

// One request of a user is answered at a time, with a pause between; who waits too long
// is sent away, and others do not wait for him.
func TestCrowdTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crowd
		a, b := c.enter(1), c.enter(2)
		if !a.take() {
			t.Fatal("no turn")
		}
		began := time.Now()
		if a.take() || time.Since(began) != turnTime {
			t.Errorf("a second turn, or sent away after %v", time.Since(began))
		}
		if began = time.Now(); !b.take() || time.Since(began) > 0 {
			t.Error("another user waited")
		}
		a.done(listPause)
		if began = time.Now(); !a.take() || time.Since(began) != listPause {
			t.Errorf("the next turn came after %v", time.Since(began))
		}
		a.leave()
		a.done(0)
		b.leave()
		b.done(0)
		synctest.Wait()
		time.Sleep(time.Millisecond)
		if len(c.users) != 0 {
			t.Error("a user is left")
		}
	})
}

// The work for ordinary users takes its share of the time and no more, whoever asks; that
// for others is not delayed; a listing that nobody reads ends.
func TestCrowdShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crowd
		a, b := c.enter(1), c.enter(2)
		began := time.Now()
		worked := make(chan time.Duration)
		for _, u := range []*user{a, b} {
			go func() {
				var n time.Duration
				for time.Since(began) < 10*time.Second {
					u.work(began, func() { time.Sleep(10 * time.Millisecond); n += 10 * time.Millisecond })
				}
				worked <- n
			}()
		}
		at := time.Now()
		if (*user)(nil).work(began, func() {}); time.Since(at) > 0 {
			t.Error("root waited")
		}
		if n := <-worked + <-worked; n > 10*time.Second/share+50*time.Millisecond || n < 9*time.Second/share {
			t.Errorf("%v of ten seconds", n)
		}
		if err := a.work(time.Now().Add(-listTime-time.Second), func() { t.Error("worked on") }); !errors.Is(err, errSlow) {
			t.Error(err)
		}
	})
}

// stuck is a disk on which nothing of the log is synced until go is closed.
type stuck struct {
	disk.FS
	on   atomic.Bool
	free chan struct{}
}

func (d *stuck) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil || !strings.Contains(name, "log") {
		return f, err
	}
	return &stuckFile{f, d}, nil
}

type stuckFile struct {
	disk.File
	d *stuck
}

func (f *stuckFile) Sync() error {
	if f.d.on.Load() {
		<-f.d.free
	}
	return f.File.Sync()
}

// A verb whose decision the disk does not take ends with 75 and says what is known. It
// never says that it is done, and meanwhile that it lives.
func TestVerbNotDurable(t *testing.T) {
	old, oldBusy := durableTime, busyTime
	durableTime, busyTime = 300*time.Millisecond, 10*time.Millisecond
	defer func() { durableTime, busyTime = old, oldBusy }()
	d := &stuck{free: make(chan struct{})}
	s := newSite(t)
	s.kill()
	d.FS = disk.OS(s.dir)
	s.fs = d
	s.start()
	s.set(func(r *libagent.Request) proto.Result { return all(r, busy) })
	id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("u@d.test")})
	s.until("deferred", func() bool { return strings.Join(s.queue(), " ") == "deferred "+string(id) })
	q := s.operator()
	d.on.Store(true)
	_, err := q.Do(&proto.Verb{Kind: proto.VerbHold, IDs: []string{string(id)}})
	if liboperator.ExitCode(err) != exTempFail || !strings.Contains(err.Error(), "the disk has not taken the decision yet") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	sock, err := net.Dial("unix", filepath.Join(s.dir, proto.OperatorSocket))
	if err != nil {
		t.Fatal(err)
	}
	conn := ipc.New(sock.(*net.UnixConn), 0)
	defer conn.Close()
	if _, err := conn.Greet(hello); err != nil {
		t.Fatal(err)
	}
	conn.Send(proto.TypeVerb, &proto.Verb{Kind: proto.VerbFlush})
	busy := 0
	for {
		f, err := conn.Next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == proto.TypeDone {
			break
		}
		if busy++; f.Type != proto.TypeBusy {
			t.Errorf("frame %d", f.Type)
		}
	}
	if busy == 0 {
		t.Error("no sign of life")
	}
	d.on.Store(false)
	close(d.free)
	s.until("the disk to take it", func() bool { // a busy disk may need longer than durableTime
		_, err := q.Do(&proto.Verb{Kind: proto.VerbRelease, IDs: []string{string(id)}})
		return err == nil
	})
}
