package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// backlog is mail in every state for a relay that does not take any: in hand, waiting in
// the active queue, parked, deferred and on hold.
type backlog struct {
	i        *instance.Instance
	l        *ledger.Ledger
	old, new *sink.Sink
	release  func() // lets the transfer under way end
	inHand   string // ids of the ledger
	held     string // queue id
	total    int
}

// newBacklog fills the queue of an instance that sends everything to old.
func newBacklog(t *testing.T, i *instance.Instance, l *ledger.Ledger, old, next *sink.Sink) *backlog {
	t.Helper()
	end := make(chan struct{})
	b := &backlog{i: i, l: l, old: old, new: next, release: sync.OnceFunc(func() { close(end) }), inHand: "in hand"}
	t.Cleanup(b.release)
	put := func(id string) string {
		b.total++
		return send(t, i, l, source.New(id, "a@source.test", 1000, id+"@x.test"))
	}
	old.Do(sink.Behaviour{Rcpt: func(string, string) string { return "450 4.2.0 busy" }})
	b.held = put("held")
	i.AwaitQueue(b.held, "deferred")
	i.Must("postsuper", "-h", b.held)
	for n := range 20 {
		i.AwaitQueue(put(fmt.Sprintf("deferred-%d", n)), "deferred")
	}
	old.Do(sink.Behaviour{Dot: func(*sink.Mail) string { <-end; return "" }})
	b.total++
	send(t, i, l, source.New(b.inHand, "a@source.test", 1000, "hand@x.test"))
	i.Await("a transfer under way", func() bool { return old.Pending() == 1 })
	for n := range 40 { // the active queue has room for some
		put(fmt.Sprintf("waits-%d", n))
	}
	i.Await("mail in all states", func() bool {
		in := map[string]int{}
		for _, q := range i.List() {
			in[q.Queue]++
		}
		return in["hold"] == 1 && in["deferred"] >= 20 && in["active"] > 1 && in["incoming"] > 10
	})
	return b
}

// all releases what is held and judges: everything has gone to the new relay but what the
// old one had in hand, and nothing twice.
func (b *backlog) all(t *testing.T) {
	t.Helper()
	b.i.Await("all but what is in hand and held", func() bool { return b.l.Open() == 2 })
	b.i.Must("postsuper", "-H", b.held)
	b.i.Must("postqueue", "-f")
	b.i.Await("what was held", func() bool { return b.l.Open() == 1 })
	b.release()
	b.i.Await("the transfer under way", func() bool { return b.l.Open() == 0 && b.i.Drained() })
	if err := b.l.Judge().Err(); err != nil {
		t.Error(err)
	}
	if _, _, mails := b.new.Counts(); mails != b.total-1 {
		t.Errorf("%d messages went to the new relay, not %d", mails, b.total-1)
	}
	if _, _, mails := b.old.Counts(); mails != 1 || len(b.old.Find(b.inHand)) != 1 {
		t.Errorf("%d messages went to the old relay", mails)
	}
}

var narrow = []string{"minimal_backoff_time = 1000s", "maximal_backoff_time = 1000s", "initial_destination_concurrency = 1",
	"default_destination_concurrency_limit = 1", "qmgr_message_active_limit = 20", "default_destination_concurrency_failed_cohort_limit = 0"}

// A relay that is dead at 03:00: with postconf -e, reload and postqueue -f everything that
// waits, in whatever state, goes to another, and nothing twice.
func TestOtherRelay(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	old, next := sink.New(t, &l), sink.New(t, &l)
	i := instance.Started(t, append(narrow, "relayhost = "+old.NextHop())...)
	b := newBacklog(t, i, &l, old, next)
	i.Must("postconf", "-e", "relayhost = "+next.NextHop())
	i.Must("master", "reload")
	i.AwaitLog(`master\[\d+\]: reload -- version`)
	i.Must("postqueue", "-f")
	b.all(t)
}

// A transport table that changes does the same without a reload; a broken text changes
// nothing and is complained about with file and line.
func TestOtherTable(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	old, next := sink.New(t, &l), sink.New(t, &l)
	i := instance.New(t, narrow...)
	table := i.WriteFile("conf/transport", "x.test smtp:"+old.NextHop()+"\n")
	i.Set("transport_maps = texthash:" + table)
	i.Start()
	b := newBacklog(t, i, &l, old, next)
	i.WriteFile("conf/transport", "x.test smtp:"+next.NextHop()+"\nnonsense\n")
	i.AwaitLog(`master\[\d+\]: error: \S+/conf/transport: the old one stays in use: \S+/conf/transport, line 2: expected format: key whitespace value`)
	if _, _, mails := next.Counts(); mails > 0 {
		t.Error("a broken table was used")
	}
	i.WriteFile("conf/transport.new", "x.test smtp:"+next.NextHop()+"\n")
	if err := os.Rename(filepath.Join(i.Conf, "transport.new"), table); err != nil {
		t.Fatal(err)
	}
	i.Await("what was not deferred", func() bool { return l.Open() == 22 }) // 20 deferred, one in hand, one held
	i.Must("postqueue", "-f")
	b.all(t)
}
