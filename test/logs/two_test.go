package logs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/sink"
	"postrider/test/source"
)

// TestTwoInstances: two on one machine share nothing, each with a configuration directory
// of its own, as a Postfix administrator has them. What is done to one leaves the other alone.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	far := sink.New(t, nil)
	far.Do(sink.Behaviour{Rcpt: func(string, string) string { return "450 4.2.0 later" }})
	make := func(name string) *instance.Instance {
		i := instance.New(t, "transport_maps = inline:{ {far.test = smtp:"+far.NextHop()+"} }", "syslog_name = postfix-"+name, "minimal_backoff_time = 1h", "queue_run_delay = 1h")
		i.Start()
		return i
	}
	a, b := make("a"), make("b")
	queued := map[*instance.Instance]string{}
	for _, i := range []*instance.Instance{a, b} {
		o, err := source.Send1(i.Addr, source.New("two-"+i.Addr, "s@source.test", 500, "r@far.test"), nil)
		if err != nil {
			t.Fatal(err)
		}
		queued[i] = o.QueueID
		i.AwaitLog(o.QueueID + `: to=<r@far.test>.*status=deferred`)
	}
	if queued[a] == queued[b] {
		t.Errorf("both have a message %s", queued[a])
	}

	// What b is before, it must be after anything that happens to a.
	before := b.Processes()
	same := func(what string) {
		t.Helper()
		if now := b.Processes(); fmt.Sprint(now) != fmt.Sprint(before) {
			t.Errorf("%s: the other's processes are %v, were %v", what, now, before)
		}
		if l := b.List(); len(l) != 1 || l[0].ID != queued[b] {
			t.Errorf("%s: the other's queue: %v", what, l)
		}
		if n := len(b.Grep(`status=deferred`)); n != 1 {
			t.Errorf("%s: the other has tried %d times", what, n)
		}
		if n := len(b.Grep(`master\[\d+\]: (reload|terminating)`)); n != 0 {
			t.Errorf("%s: the other's master heard of it", what)
		}
		if !b.Greets() {
			t.Errorf("%s: the other does not answer", what)
		}
	}
	a.Run("postsuper", "-d", queued[b])
	same("a delete of the other's queue id")
	a.Must("postqueue", "-f")
	a.Await("a second attempt", func() bool { return len(a.Grep(`status=deferred`)) == 2 })
	same("a flush")
	a.Must("master", "-c", a.Conf, "reload")
	a.AwaitLog(`postfix-a/master\[\d+\]: reload`)
	same("a reload")
	a.Must("postsuper", "-d", "ALL")
	a.Await("an empty queue", a.Drained)
	same("a delete of all")
	a.KillOne("qmgr")
	a.AwaitLog(`postfix-a/master\[\d+\]: warning: process .*qmgr`)
	a.Await("a new queue manager", func() bool { return len(a.PIDs("qmgr")) == 1 })
	same("a kill")
	a.Must("master", "-c", a.Conf, "stop")
	a.Await("the end", a.Exited)
	same("a stop")
	if r := b.Run("master", "-c", b.Conf, "status"); r.Code != 0 || !strings.Contains(r.Stderr+r.Stdout, fmt.Sprint(b.Master())) {
		t.Errorf("status: %+v", r)
	}

	// No file of one is another's: neither below its directories nor in its lines.
	if l := b.Grep(`postfix-a/`); len(l) != 0 {
		t.Errorf("lines of the other: %v", l)
	}
	for _, p := range b.Processes() {
		fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID))
		for _, fd := range fds {
			if to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", p.PID, fd.Name())); strings.HasPrefix(to, a.Dir) {
				t.Errorf("%s holds %s", p.Name, to)
			}
		}
	}

	// A master with another configuration directory and the same queue is refused; one
	// with its own queue and the other's data_directory, too.
	a.Set("queue_directory = "+b.Queue, "data_directory = "+a.Dir+"/data2")
	if r := a.Run("master", "-c", a.Conf, "start-fg"); r.Code == 0 || !strings.Contains(r.Stderr, fmt.Sprint(b.Master())) {
		t.Errorf("a second master on one queue: %+v", r)
	}
	a.Set("queue_directory = "+a.Queue, "data_directory = "+b.Dir+"/data")
	if r := a.Run("master", "-c", a.Conf, "start-fg"); r.Code == 0 || !strings.Contains(r.Stderr, "data_directory") && !strings.Contains(r.Stderr, "/data") {
		t.Errorf("a second master on one data_directory: %+v", r)
	}
	same("two masters that were refused")
}
