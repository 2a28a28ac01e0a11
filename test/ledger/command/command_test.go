package command

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"postrider/test/instance"
)

// route is a system that brings the ledger's mail to a free port, and the options to try it.
func route(t *testing.T) (i *instance.Instance, options []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	i = instance.Started(t, "transport_maps = inline:{ {ledger.test=smtp:[127.0.0.1]:"+port+"} }", "minimal_backoff_time = 1s", "maximal_backoff_time = 1s")
	t.Setenv("PATH", i.Bin+":"+os.Getenv("PATH"))
	return i, []string{"-y", "--flush", "--wait", "25s", "-c", i.Conf, "--listen", addr, i.Addr}
}

func count(t *testing.T, page, name string) (n int) {
	t.Helper()
	for l := range strings.Lines(page) {
		if f := strings.Fields(l); len(f) > 1 && f[0] == name {
			fmt.Sscan(f[1], &n)
			return n
		}
	}
	t.Fatalf("no %s in\n%s", name, page)
	return 0
}

// All is delivered though the system is killed in the middle.
func TestThroughAKill(t *testing.T) {
	i, options := route(t)
	var out, errs bytes.Buffer
	done := make(chan int)
	go func() {
		done <- run(context.Background(), append([]string{"-m", "400", "-r", "2", "-s", "4", "--rate", "400"}, options...), nil, &out, &errs)
	}()
	i.AwaitLog(`qmgr\[\d+\]: .*removed`)
	i.Kill()
	i.Start()
	code := <-done
	page := out.String()
	t.Log(page)
	if code != 0 || count(t, page, "acknowledged") < 600 || count(t, page, "lost")+count(t, page, "queued") > 0 {
		t.Errorf("exit code %d\n%s", code, errs.String())
	}
	if got, want := count(t, page, "delivered"), count(t, page, "acknowledged"); got < want {
		t.Errorf("%d delivered of %d acknowledged", got, want)
	}
}

// What is in the queue is found there, and what somebody deleted is lost.
func TestQueuedAndLost(t *testing.T) {
	i, options := route(t)
	i.Stop()
	i.Set("transport_maps = inline:{ {ledger.test=retry:4.3.2 not now} }")
	i.Start()
	for _, lose := range []bool{false, true} {
		var out, errs bytes.Buffer
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan int)
		go func() { done <- run(ctx, append([]string{"-m", "5"}, options...), nil, &out, &errs) }()
		i.Await("five in the queue", func() bool { return len(i.List()) == 5 })
		if lose {
			i.Must("postsuper", "-d", i.List()[0].ID)
		}
		stop() // the operator does not wait for the rest
		code, page := <-done, out.String()
		if queued, lost := count(t, page, "queued"), count(t, page, "lost"); lose != (code == 1) || lose != (lost == 1) || queued+lost != 5 {
			t.Errorf("deleted %t: exit code %d\n%s%s", lose, code, page, errs.String())
		}
		i.Must("postsuper", "-d", "ALL")
	}
}
