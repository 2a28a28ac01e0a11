package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// small mounts a small file system in memory at the queue directory.
func small(t *testing.T, i *instance.Instance, options string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a small tmpfs")
	}
	owner := ownerOf(t, i.Queue)
	if err := syscall.Mount("tmpfs", i.Queue, "tmpfs", 0, fmt.Sprintf("%s,mode=0755,uid=%d,gid=%d", options, owner.Uid, owner.Gid)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Kill(); syscall.Unmount(i.Queue, syscall.MNT_DETACH) })
}

// fill takes all room there is, and returns what gives it back.
func fill(t *testing.T, i *instance.Instance) (free func()) {
	t.Helper()
	name := i.Queue + "/fill"
	fillFile(t, name)
	return func() { must(t, os.Remove(name)) }
}

// fillFile makes a file of all the room there is.
func fillFile(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	must(t, err)
	defer f.Close()
	for b := make([]byte, 1<<20); len(b) > 0; {
		if _, err := f.Write(b); err != nil {
			b = b[:len(b)/2]
		}
	}
}

// The disk is full to the last byte while a thousand deliveries are under way: all their
// results are kept, and when there is room again nothing is lost and nothing repeated.
func TestFullWithAThousandInHand(t *testing.T) {
	t.Parallel()
	const inHand = 1000
	var l ledger.Ledger
	far := sink.New(t, &l)
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open)
	far.Do(sink.Behaviour{Dot: func(*sink.Mail) string { <-gate; return "" }})
	i := instance.New(t, "transport_maps = inline:{ {far.test=smtp:"+far.NextHop()+"} }", "default_process_limit = 2500", "smtpd_client_connection_count_limit = 0",
		"initial_destination_concurrency = 1000", "default_destination_concurrency_limit = 1000", "minimal_backoff_time = 1s", "maximal_backoff_time = 1s")
	small(t, i, "size=700m")
	i.Start()
	s, err := source.Dial(i.Addr)
	if err != nil {
		t.Fatal(err)
	}
	for n := range inHand {
		m := source.New(fmt.Sprintf("hand-%d", n), "a@source.test", 1500, fmt.Sprintf("r%d@far.test", n))
		if o, err := s.Send(m, &l); err != nil || len(o.Acked) != 1 {
			t.Fatalf("%s: %+v, %v", m.ID, o, err)
		}
	}
	s.Close()
	i.Await("a thousand deliveries past the dot", func() bool { return far.Pending() == inHand })
	free := fill(t, i)
	open()
	i.Await("all to be delivered", func() bool { return l.Open() == 0 })
	i.KillOne("qmgr") // what it could not write down the agent still has
	i.PID("qmgr")
	free()
	i.Await("an empty queue", func() bool { i.Run("postqueue", "-f"); return i.Drained() })
	if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 || v.Delivered != inHand {
		t.Errorf("%v; %v", v.Err(), v)
	}
	if f := i.Files("corrupt"); len(f) > 0 {
		t.Errorf("in corrupt/: %v", f)
	}
}

// On a disk that the queue itself has filled, an operator deletes mail, and there is room
// at once.
func TestDeleteOnAFullDisk(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	far := sink.New(t, &l)
	far.Refuse()
	i := instance.New(t, "transport_maps = inline:{ {far.test=smtp:"+far.NextHop()+"} }", "minimal_backoff_time = 1000s", "maximal_backoff_time = 1000s")
	small(t, i, "size=700m")
	i.Start()
	n := 0
	taken := func() bool {
		t.Helper()
		n++
		id := fmt.Sprintf("large-%d", n)
		o, err := source.Send1(i.Addr, source.New(id, "a@source.test", 5_000_000, "r@far.test"), &l)
		if err != nil && !strings.HasPrefix(o.Reply, "452 4.3.1 ") {
			t.Fatalf("%q, %v", o.Reply, err)
		}
		return err == nil
	}
	// What is made in advance takes room too: later it would take what is given back.
	i.Await("three files of the journal", func() bool { return taken() && blocks(t, i, "incoming") >= 3*64<<20 })
	for taken() {
	}
	t.Logf("%d messages of 5 MB were taken before the disk was full", n-1)
	i.Await("the queue manager to know of all", func() bool { return len(i.List()) == n-1 })
	fill(t, i) // to the last byte
	i.Must("postsuper", "-d", "ALL")
	if q := i.List(); len(q) > 0 {
		t.Errorf("in the queue: %d", len(q))
	}
	start := time.Now()
	i.Await("room for mail", taken)
	t.Logf("room for mail again after %v", time.Since(start))
}

// blocks is what the files of a folder of the queue directory take up, in bytes.
func blocks(t *testing.T, i *instance.Instance, dir string) (sum int64) {
	t.Helper()
	es, err := os.ReadDir(filepath.Join(i.Queue, dir))
	must(t, err)
	for _, e := range es {
		var st syscall.Stat_t
		if syscall.Stat(filepath.Join(i.Queue, dir, e.Name()), &st) == nil {
			sum += st.Blocks * 512
		}
	}
	return sum
}

// The file system has no inode left: what needs a new file is refused for now, what needs
// none flows, and all is well when there are some again.
func TestNoInodes(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	far := sink.New(t, &l)
	i := instance.New(t, "transport_maps = inline:{ {far.test=smtp:"+far.NextHop()+"} }", "minimal_backoff_time = 1s", "maximal_backoff_time = 1s")
	small(t, i, "size=900m,nr_inodes=400")
	i.Start()
	send(t, i, &l, source.New("before", "a@source.test", 1000, "r@far.test"))
	send(t, i, &l, source.New("before, large", "a@source.test", 400_000, "r@far.test"))
	i.Await("deliveries", func() bool { return l.Open() == 0 })
	var fillers []string
	fillUp := func() {
		for {
			name := filepath.Join(i.Queue, fmt.Sprintf("fill.%d", len(fillers)))
			f, err := os.Create(name)
			if err != nil {
				return
			}
			f.Close()
			fillers = append(fillers, name)
		}
	}
	for n := 0; ; n++ {
		i.Await("what was delivered to be gone", func() bool { return l.Open() == 0 && len(i.Files("content")) == 0 })
		fillUp()
		o, err := source.Send1(i.Addr, source.New(fmt.Sprintf("large-%d", n), "a@source.test", 400_000, "r@far.test"), &l)
		if err == nil && n < 5 { // the system has given an inode back
			continue
		}
		if err == nil || o.Reply == "" || o.Reply[0] != '4' {
			t.Errorf("a large message with no inode left: %+v, %v", o, err)
		}
		break
	}
	drop := source.New("drop", "a@source.test", 1000, "r@far.test")
	l.Attempt("drop", ledger.Hash(drop.Content), "r@far.test")
	switch r := i.RunWith(strings.ReplaceAll(string(drop.Content), "\r\n", "\n"), "sendmail", "-i", "-f", "a@source.test", "r@far.test"); r.Code {
	case 0: // the system gave one back meanwhile
		l.Acked("drop", "r@far.test")
	case 75:
		l.Rejected("drop", "r@far.test")
	default:
		t.Errorf("sendmail with no inode left: %+v", r)
	}
	for n := range 200 { // without a new file
		send(t, i, &l, source.New(fmt.Sprintf("small-%d", n), "a@source.test", 3000, "r@far.test"))
	}
	i.Await("small mail to flow", func() bool { return l.Open() == 0 })
	i.Kill()
	i.Launch()
	for _, name := range fillers {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	i.Await("the greeting", i.Greets)
	i.Await("a large message to be taken", func() bool {
		_, err := source.Send1(i.Addr, source.New("large, again", "a@source.test", 400_000, "r@far.test"), &l)
		return err == nil
	})
	i.Await("an empty queue", func() bool { i.Run("postqueue", "-f"); return l.Open() == 0 && i.Drained() })
	if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 {
		t.Errorf("%v; %v", v.Err(), v)
	}
}
