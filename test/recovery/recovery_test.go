package recovery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postrider/lib/mail"
	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/scale"
	"postrider/test/sink"
	"postrider/test/source"
	"postrider/test/world"
)

// Environment variables: how many reloads there are, and how many messages in the queue.
const (
	envReloads = "POSTRIDER_RELOADS"
	envQueued  = "POSTRIDER_QUEUED"
)

// load puts the world under mail until the returned function is called, which waits for
// the last of it.
func load(w *world.World, x *world.Letters) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { source.Load(ctx, w.Addr, 4, &w.Ledger, x.Next) })
	wg.Go(func() { w.Submit(ctx, x.Next) })
	return func() { cancel(); wg.Wait() }
}

// knock connects again and again until ctx ends, and counts who was not greeted.
func knock(ctx context.Context, addr string) (greeted, refused int, last error) {
	for ctx.Err() == nil {
		s, err := source.Dial(addr)
		if err != nil {
			refused, last = refused+1, err
			continue
		}
		greeted++
		s.Close()
		time.Sleep(5 * time.Millisecond)
	}
	return greeted, refused, last
}

// A thousand reloads under load: nothing lost or repeated, no connection refused, the
// same processes with the same descriptors.
func TestReloads(t *testing.T) {
	t.Parallel()
	reloads := instance.Number(t, envReloads, 30)
	w := world.New(t)
	w.Start()
	x := world.NewLetters(4)
	x.Sizes = []int{1000, 4000, 30_000}
	stop := load(w, x)
	w.Sent(x, 50)
	w.Must("master", "reload")
	before, had := w.Processes(), descriptors(w.Processes())
	ctx, cancel := context.WithCancel(context.Background())
	var door sync.WaitGroup
	door.Go(func() {
		greeted, refused, err := knock(ctx, w.Addr)
		if refused > 0 || greeted == 0 {
			t.Errorf("%d connections of %d were not greeted: %v", refused, greeted+refused, err)
		}
		t.Logf("%d connections greeted", greeted)
	})
	start := time.Now()
	for n := range reloads {
		w.Set(fmt.Sprintf("message_size_limit = %d", 10_000_000+n)) // so that there is something to take over
		w.Must("master", "reload")
	}
	t.Logf("%d reloads in %v under load", reloads, time.Since(start).Round(time.Millisecond))
	cancel()
	door.Wait()
	stop()
	v := w.Drain()
	t.Log(v)
	if v.Err() != nil || len(v.Duplicates) > 0 || v.Acked == 0 {
		t.Errorf("%v; %v", v.Err(), v)
	}
	if after := w.Processes(); !slices.Equal(before, after) {
		t.Errorf("processes %v before and %v after", before, after)
	}
	now := had
	t.Cleanup(func() { t.Logf("descriptors %v before and %v after", had, now) })
	w.Await("descriptors as before", func() bool {
		now = descriptors(w.Processes())
		for name, n := range now {
			if n > had[name]+world.InHand+4 { // kept sessions to the far ends come and go
				return false
			}
		}
		return true
	})
}

// descriptors counts those of each program.
func descriptors(all []instance.Process) map[string]int {
	n := map[string]int{}
	for _, p := range all {
		fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID))
		n[p.Name] += len(fds)
	}
	return n
}

// A daemon that is killed is there again at once. On a machine that does much else at the
// same time it may take longer, so it has some tries.
func TestOneIsReplaced(t *testing.T) {
	t.Parallel()
	const goal = 100 * time.Millisecond
	best := map[string]time.Duration{}
	slow := []string{"smtpd", "cleanup", "qmgr", "smtp", "local", "bounce"}
	for tries := 0; tries < 8 && len(slow) > 0; tries++ {
		i := instance.Started(t) // a daemon that dies again within seconds waits longer, on purpose
		slow = slices.DeleteFunc(slow, func(name string) bool {
			took := replaced(t, i, name)
			if old, ok := best[name]; !ok || took < old {
				best[name] = took
			}
			return took <= goal
		})
		i.Kill()
	}
	t.Log(best)
	if len(slow) > 0 {
		t.Errorf("not within %v: %v", goal, slow)
	}
}

// replaced kills a daemon and returns when the next one was there.
func replaced(t *testing.T, i *instance.Instance, name string) time.Duration {
	t.Helper()
	i.PID(name)
	old := i.PIDs(name)
	start := time.Now()
	if err := syscall.Kill(old[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	i.Await("another "+name, func() bool {
		return slices.ContainsFunc(i.PIDs(name), func(p int) bool { return !slices.Contains(old, p) }) && (name != "smtpd" || i.Greets())
	})
	return time.Since(start)
}

// A stop under load ends within five seconds when no delivery is past the final dot,
// though servers hang at every point before it.
func TestStop(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	hang := make(chan struct{})
	defer close(hang)
	var at atomic.Int64
	stuck := func(string) string { at.Add(1); <-hang; return sink.Drop }
	w.Slow.Do(sink.Behaviour{From: stuck})
	w.Start()
	x := world.NewLetters(5)
	stop := load(w, x)
	w.Sent(x, 100)
	w.Await("deliveries that hang", func() bool { return at.Load() >= 3 })
	start := time.Now()
	if err := w.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	took := time.Since(start)
	stop()
	t.Logf("stopped within %v, with %d deliveries that hung", took.Round(time.Millisecond), at.Load())
	if took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
	w.Temper()
	w.Start()
	v := w.Drain()
	if v.Err() != nil || len(v.Duplicates) > 0 || v.Acked == 0 {
		t.Errorf("%v; %v", v.Err(), v)
	}
}

// With a long queue, half of them in the journal only, everything is
// killed: the next start accepts mail within a second.
func TestManyQueued(t *testing.T) {
	t.Parallel()
	queued := instance.Number(t, envQueued, 10_000)
	var l ledger.Ledger
	far := sink.New(t, &l)
	i := instance.New(t, "transport_maps = inline:{ {far.test=smtp:"+far.NextHop()+"} }", "relayhost = [127.0.0.1]:9", "minimal_backoff_time = 1000s", "maximal_backoff_time = 1000s")
	due := time.Now().Add(time.Hour)
	err := scale.Fill(i.Queue, queued, func(n int) scale.Letter {
		x := scale.Letter{To: []mail.Address{mail.Address(fmt.Sprintf("r%d@elsewhere.test", n))}, Arrival: due.Add(-2 * time.Hour)}
		if n < queued/2 {
			x.Due, x.Attempts, x.Status = due, 1, mail.Status{DSN: "4.4.1", Text: "connection refused"}
		}
		return x
	})
	if err != nil {
		t.Fatal(err)
	}
	i.GiveQueue()
	i.Start()
	var took []time.Duration
	for n := range 3 {
		send(t, i, &l, fmt.Sprintf("before-%d", n))
		i.Kill()
		start := time.Now()
		i.Launch()
		var s *source.Session
		i.Await("a session", func() (ok bool) {
			var err error
			s, err = source.Dial(i.Addr)
			return err == nil
		})
		if o, err := s.Send(source.New(fmt.Sprintf("after-%d", n), "a@source.test", 1000, "r@far.test"), &l); err != nil || len(o.Acked) != 1 {
			t.Fatalf("%+v, %v", o, err)
		}
		took = append(took, time.Since(start))
		s.Close()
	}
	slices.Sort(took)
	t.Logf("accepted after a kill of everything with %d queued: within %v (median of 3, at most %v)", queued, took[1].Round(time.Millisecond), took[2].Round(time.Millisecond))
	if took[0] > time.Second {
		t.Errorf("accepted within %v at best, not a second", took[0])
	}
	i.Await("delivery of what was sent", func() bool { return l.Open() == 0 })
	if v := l.Judge(); v.Err() != nil {
		t.Error(v.Err())
	}
	n := 0
	for range strings.Lines(i.Must("postqueue", "-j")) {
		n++
	}
	if n != queued {
		t.Errorf("%d messages in the queue, not %d", n, queued)
	}
}

func send(t *testing.T, i *instance.Instance, l *ledger.Ledger, id string) {
	t.Helper()
	if o, err := source.Send1(i.Addr, source.New(id, "a@source.test", 1000, "r@far.test"), l); err != nil || len(o.Acked) != 1 {
		t.Fatalf("%s: %+v, %v", id, o, err)
	}
}

// The programs are replaced under load, as make install does: daemons that run go on,
// those that are started later are new ones, and a restart leads to all new ones. Nothing
// is lost, and nothing repeated.
func TestNewPrograms(t *testing.T) {
	t.Parallel()
	w := world.New(t, "daemon_directory = $queue_directory/../programs")
	to := filepath.Join(w.Dir, "programs")
	install := func(mark string) {
		t.Helper()
		if err := os.Mkdir(to, 0755); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		es, err := os.ReadDir(w.Bin)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range es {
			from, name := filepath.Join(w.Bin, e.Name()), filepath.Join(to, e.Name())
			if e.Type()&os.ModeSymlink != 0 {
				os.Remove(name) // ln -sf
				if err := os.Symlink("master", name); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if !e.Type().IsRegular() {
				continue
			}
			b, err := os.ReadFile(from)
			if err == nil {
				os.Remove(name) // install(1) unlinks what runs
				err = os.WriteFile(name, append(b, mark...), 0755)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	install("old")
	w.Bin = to
	w.Bin, to = to, w.Bin
	w.Start()
	x := world.NewLetters(6)
	stop := load(w, x)
	w.Sent(x, 50)
	w.Bin, to = to, w.Bin // what is installed comes from where it was built
	install("new")
	w.Bin = to
	w.Sent(x, 50)
	w.Must("master", "reload")
	for _, name := range []string{"cleanup", "qmgr", "smtpd", "bounce"} {
		w.KillOne(name)
		w.PID(name)
		w.Sent(x, 20)
	}
	if err := w.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	w.Start()
	w.Sent(x, 50)
	stop()
	v := w.Drain()
	t.Log(v)
	if v.Err() != nil || len(v.Duplicates) > 0 || v.Acked == 0 {
		t.Errorf("%v; %v; %v", v.Err(), v, v.Duplicates)
	}
	for _, p := range w.Processes() {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.PID))
		if err != nil || strings.HasSuffix(exe, "(deleted)") {
			t.Errorf("%s still runs the old program: %s %v", p.Name, exe, err)
		}
	}
}
