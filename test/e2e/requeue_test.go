package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// both runs a test with the system up, and with it down while the operator works.
func both(t *testing.T, f func(t *testing.T, up bool)) {
	t.Parallel()
	for _, up := range []bool{true, false} {
		t.Run(map[bool]string{true: "up", false: "down"}[up], func(t *testing.T) { t.Parallel(); f(t, up) })
	}
}

// super runs postsuper, for which the system is stopped when it is to be down, and
// then killed: what postsuper said is on the disk (S8).
func super(t *testing.T, i *instance.Instance, up bool, want string, args ...string) {
	t.Helper()
	if !up {
		if err := i.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	r := i.Run("postsuper", args...)
	if r.Code != 0 || r.Stdout != "" || !strings.HasSuffix(r.Stderr, want) {
		t.Errorf("postsuper %v: exit code %d, said %q, not %q", args, r.Code, r.Stderr, want)
	}
	i.Kill()
	i.Start()
}

// A message that is requeued has a new id and its old time of arrival, brings only
// the recipients that are left, deferred or on hold, small or large, and starts anew;
// the old one is gone.
func TestRequeue(t *testing.T) {
	both(t, func(t *testing.T, up bool) {
		var l ledger.Ledger
		var open atomic.Bool
		far := sink.New(t, &l)
		far.Do(sink.Behaviour{Rcpt: func(_, r string) string {
			if open.Load() || strings.HasPrefix(r, "good") {
				return ""
			}
			return "450 4.2.0 busy"
		}})
		i := instance.Started(t, "minimal_backoff_time = 1000s", "maximal_backoff_time = 1000s", "journal_inline_limit = 100000", route("sink.test", far))
		var ids []string
		for n, size := range []int{1000, 300000, 2000} {
			id := send(t, i, &l, source.New(fmt.Sprintf("again-%d", n), "a@source.test", size, "good@sink.test", "bad@sink.test"))
			i.AwaitQueue(id, "deferred")
			ids = append(ids, id)
		}
		before := i.List()
		i.Must("postsuper", "-h", ids[2])
		super(t, i, up, "postsuper: Requeued: 3 messages\n", "-r", ids[0], "-r", ids[1], "-r", ids[2])
		i.Await("three new messages, deferred", func() bool {
			list := i.List()
			return len(list) == 3 && !slices.ContainsFunc(list, func(q instance.Queued) bool { return slices.Contains(ids, q.ID) || q.Queue != "deferred" })
		})
		for _, q := range i.List() {
			old := slices.IndexFunc(before, func(b instance.Queued) bool { return b.Size == q.Size })
			if old < 0 || before[old].Arrival != q.Arrival || len(q.Recipients) != 1 || q.Recipients[0].Address != "bad@sink.test" {
				t.Errorf("%+v was one of %+v", q, before)
			}
		}
		for _, id := range ids {
			if up {
				break // the kill may have come before the line was written
			}
			i.AwaitLog(`postfix/pickup\[\d+\]: \w+: uid=0 from=<a@source.test> orig_id=` + id)
		}
		open.Store(true)
		i.Must("postqueue", "-f")
		i.Await("an empty queue", i.Drained)
		if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 || v.Delivered != 6 {
			t.Errorf("%v; %v", v.Err(), v)
		}
	})
}

// What is forced to expire goes back to its sender at its next attempt, with the
// reason that is known; on hold it stays, unless -f releases it.
func TestExpire(t *testing.T) {
	both(t, func(t *testing.T, up bool) {
		var l ledger.Ledger
		far, home := sink.New(t, &l), sink.New(t, &l)
		home.Reports()
		far.Do(sink.Behaviour{Rcpt: func(string, string) string { return "450 4.2.0 busy" }})
		i := instance.Started(t, "minimal_backoff_time = 1000s", "maximal_backoff_time = 1000s", route("sink.test", far, "source.test", home))
		var ids []string
		for n := range 4 {
			id := send(t, i, &l, source.New(fmt.Sprintf("expire-%d", n), "a@source.test", 1000, "r@sink.test"))
			i.AwaitQueue(id, "deferred")
			ids = append(ids, id)
		}
		i.Must("postsuper", "-h", ids[1], "-h", ids[2])
		super(t, i, up, "postsuper: Force-expired: 2 messages\n", "-e", ids[0], "-e", ids[1])
		super(t, i, up, ": expired\npostsuper: Force-expired: 1 message\n", "-f", ids[2])
		tried, _, _ := far.Counts()
		i.Must("postqueue", "-i", ids[0])
		i.Must("postqueue", "-i", ids[2])
		i.AwaitQueue(ids[0], "")
		i.AwaitQueue(ids[2], "")
		if again, _, _ := far.Counts(); again != tried {
			t.Error("an attempt was made")
		}
		for _, id := range []string{ids[0], ids[2]} {
			i.AwaitLog(id + `: from=<a@source.test>, status=force-expired, returned to sender`)
		}
		i.Await("two reports", func() bool { return l.Open() == 2 })
		if q := i.Entry(ids[1]); q.Queue != "hold" {
			t.Errorf("%+v", q)
		}
		if q := i.Entry(ids[3]); q.Queue != "deferred" {
			t.Errorf("%+v", q)
		}
		i.Must("postsuper", "-H", ids[1])
		i.Must("postqueue", "-i", ids[1])
		i.AwaitQueue(ids[1], "")
		i.Await("three reports", func() bool { return l.Open() == 1 })
		i.Must("postsuper", "-d", ids[3])
		v := l.Judge()
		if len(v.Mixed)+len(v.Unexpected)+len(v.Duplicates) > 0 {
			t.Error(v)
		}
	})
}
