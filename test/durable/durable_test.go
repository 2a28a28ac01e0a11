package durable

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
	"postrider/test/strace"
)

// start runs an instance that sends to a sink, its messages above 40,000 bytes in files
// of their own.
func start(t *testing.T, l *ledger.Ledger) *instance.Instance {
	strace.Need(t)
	s := sink.New(t, l)
	return instance.Started(t, "relayhost = "+s.NextHop(), "journal_inline_limit = 40000")
}

// TestOrder (S1): every 250 of 50 messages, from four sessions at once and of both kinds,
// comes after the sync of all that was written of it. Syncs take 5 ms longer than they
// would, so that a reply that does not wait for them is early beyond doubt.
func TestOrder(t *testing.T) {
	var l ledger.Ledger
	i := start(t, &l)
	x := strace.Attach(t, append(i.PIDs("smtpd"), i.PID("cleanup")), "-y", "-s", "20000",
		"-e", "trace=write,pwrite64,fdatasync,fsync", "-e", "inject=fdatasync,fsync:delay_exit=5000")
	const small, large = 40, 10
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() { send(t, i, &l, fmt.Sprintf("small%d-", n), small/4, 4096) })
	}
	wg.Wait()
	send(t, i, &l, "large-", large, 100_000)
	trace := x.Stop()
	n, err := judge(calls(trace))
	if err != nil || n != small+large {
		t.Errorf("%d replies: %v", n, err)
	}
	if !strings.Contains(trace, "/content/") {
		t.Error("no message had a file of its own")
	}
	i.Await("all mail at the sink", func() bool { return l.Open() == 0 })
	if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 {
		t.Error(v)
	}
}

func send(t *testing.T, i *instance.Instance, l *ledger.Ledger, name string, n, size int) {
	s, err := source.Dial(i.Addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer s.Close()
	for k := range n {
		if o, err := s.Send(source.New(fmt.Sprint(name, k), "a@b.test", size, "r@example.net"), l); err != nil || o.Acked == nil {
			t.Errorf("%+v %v", o, err)
			return
		}
	}
}

// TestJudge: the judgement above finds a reply that came too early.
func TestJudge(t *testing.T) {
	const good = `10 pwrite64(9</q/incoming/000001>, "x\0ID1\1", 6, 0) = 6
10 fdatasync(9</q/incoming/000001> <unfinished ...>
11 write(3</log>, "ID1", 3) = 3
10 <... fdatasync resumed>) = 0
11 write(4<socket:[1]>, "250 2.0.0 Ok: queued as ID1\r\n", 29) = 29
`
	lines := strings.SplitAfter(good, "\n")
	for name, c := range map[string]struct {
		trace string
		bad   bool
	}{
		"good":               {good, false},
		"no sync":            {lines[0] + lines[4], true},
		"sync failed":        {strings.Replace(good, "resumed>) = 0", "resumed>) = -1 EIO (Input/output error) (INJECTED)", 1), true},
		"before its end":     {lines[0] + lines[1] + lines[4] + lines[3], true},
		"before the write":   {lines[1] + lines[3] + lines[0] + lines[4], true},
		"of another file":    {strings.ReplaceAll(lines[1], "000001", "000002") + lines[0] + lines[3] + lines[4], true},
		"not in the journal": {strings.ReplaceAll(lines[0], "ID1", "ID2") + lines[1] + lines[3] + lines[4], true},
		"content not synced": {"12 pwrite64(8</q/content/5>, \"x\", 1, 0) = 1\n" + good, true},
		"content synced":     {"12 pwrite64(8</q/content/5>, \"x\", 1, 0) = 1\n12 fdatasync(8</q/content/5>) = 0\n" + good, false},
	} {
		if n, err := judge(calls(c.trace)); n != 1 || (err != nil) != c.bad {
			t.Errorf("%s: %d replies, %v", name, n, err)
		}
	}
}

// TestFailedSync (S1): a message whose sync fails gets 451 and is never delivered; the
// next one goes into the next file and is accepted. Without any sync that works, no
// message gets 250. What was accepted before and after arrives once.
func TestFailedSync(t *testing.T) {
	for _, c := range []struct {
		name  string
		only  bool // the current file of the journal; else every file
		large bool
	}{
		{"journal", true, false},
		{"everything", false, false},
		{"everything, large", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l ledger.Ledger
			i := start(t, &l)
			send(t, i, &l, "before-", 5, 4096)
			options := []string{"-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO"}
			if c.only {
				options = append(options, "-P", current(i, &l, t))
			}
			x := strace.Attach(t, []int{i.PID("cleanup")}, options...)
			size := 4096
			if c.large {
				size = 100_000
			}
			for n := range 3 {
				o, err := source.Send1(i.Addr, source.New(fmt.Sprint("during-", n), "a@b.test", size, "r@example.net"), &l)
				refused := strings.HasPrefix(o.Reply, "451")
				switch {
				case !c.only && !refused && !o.Unknown:
					t.Errorf("without a sync that works: %+v %v", o, err)
				case c.only && refused != (n == 0):
					t.Errorf("message %d, the sync of the first file failing: %+v %v", n, o, err)
				}
			}
			if trace := x.Stop(); !strings.Contains(trace, "(INJECTED)") {
				t.Errorf("no sync failed:\n%s", trace)
			}
			n := 0
			i.Await("mail accepted again", func() bool {
				n++
				o, err := source.Send1(i.Addr, source.New(fmt.Sprint("after-", n), "a@b.test", 4096, "r@example.net"), &l)
				return err == nil && o.Acked != nil
			})
			i.Await("all mail at the sink", func() bool { return l.Open() == 0 && i.Drained() })
			if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 {
				t.Error(v)
			}
		})
	}
}

// current is the file that cleanup appends to: not the first one, which is left as soon
// as another has been written in advance.
func current(i *instance.Instance, l *ledger.Ledger, t *testing.T) (path string) {
	n := 0
	i.Await("a journal file that stays", func() bool {
		x := strace.Attach(t, []int{i.PID("cleanup")}, "-y", "-s", "8192", "-e", "trace=pwrite64")
		n++
		o, err := source.Send1(i.Addr, source.New(fmt.Sprint("current-", n), "a@b.test", 4096, "r@example.net"), l)
		if err != nil {
			t.Error(err)
		}
		for _, c := range calls(x.Stop()) {
			if strings.Contains(c.text, o.QueueID) {
				path = c.path
			}
		}
		return path != "" && filepath.Base(path) != "000001"
	})
	return path
}
