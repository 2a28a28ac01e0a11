package machine

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// Yesterday's copy of the queue directory, brought back over today's: everything in it is
// on hold, with a warning, and nothing that was delivered meanwhile is sent again; new mail
// flows, and what an operator releases goes.
func TestRestored(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	far := sink.New(t, &l)
	far.Refuse()
	i := instance.Started(t, "transport_maps = inline:{ {far.test=smtp:"+far.NextHop()+"} }", "minimal_backoff_time = 1s", "maximal_backoff_time = 1s", "journal_inline_limit = 20000")
	for n, size := range []int{1000, 30_000, 4000} {
		send(t, i, &l, source.New(string(rune('a'+n)), "a@source.test", size, "r@far.test"))
	}
	i.Await("three deferred", func() bool { return len(i.Grep("status=deferred")) >= 3 })
	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}
	yesterday := i.Dir + "/yesterday"
	replace := func(to, from string) {
		t.Helper()
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v: %s", err, out)
		}
	}
	replace(yesterday, i.Queue)
	i.Start()
	far.Accept(t)
	i.Await("deliveries", func() bool { return l.Open() == 0 && i.Drained() })
	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}

	replace(i.Queue, yesterday)
	if list := i.List(); len(list) != 3 { // the system is down: the command meets the copy first
		t.Errorf("while down: %+v", list)
	}
	replace(i.Queue, yesterday)
	i.Start()
	i.AwaitLog(`qmgr\[\d+\]: warning: this queue was brought back from an earlier time: .*put on hold \(3 messages`)
	i.Must("postqueue", "-f")
	send(t, i, &l, source.New("new", "a@source.test", 1000, "r@far.test"))
	i.Await("new mail", func() bool { return l.Open() == 0 })
	for _, q := range i.List() {
		if q.Queue != "hold" {
			t.Errorf("not on hold: %+v", q)
		}
	}
	if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 {
		t.Errorf("sent again: %v", v)
	}

	// It is today's from now on: nothing is put on hold at the next start.
	i.Kill()
	i.Start()
	i.Must("postsuper", "-H", "ALL")
	i.Must("postqueue", "-f")
	i.Await("what was released", i.Drained)
	// The new one comes again, too, when the kill came before its mark was on the disk.
	if v := l.Judge(); v.Err() != nil || len(v.Duplicates) < 3 || len(v.Duplicates) > 4 {
		t.Errorf("what was released: %v", v)
	}
	if n := strings.Count(i.Log(), "brought back"); n != 1 {
		t.Errorf("%d warnings, not one", n)
	}
}

// send sends a message that must be accepted for all, and returns its queue id.
func send(t *testing.T, i *instance.Instance, l *ledger.Ledger, m *source.Message) string {
	t.Helper()
	o, err := source.Send1(i.Addr, m, l)
	if err != nil || o.QueueID == "" {
		t.Fatalf("%s: %v, %+v", m.ID, err, o)
	}
	return o.QueueID
}
