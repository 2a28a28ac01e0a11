//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/source"
)

var here = newTable("Mail from and for this machine", "Local delivery: by smtp-source, 20 kept sessions, into one Maildir, until every file is there. Postrider is not started by root here, so that it delivers without a helper of the recipient's.",
	"load", "system", "messages/s", "processor time", "by program")

// TestLocal delivers into a Maildir.
func TestLocal(t *testing.T) {
	l := load{name: "local, 4 KB", size: 4096, sessions: 20, kept: true, to: "nobody@" + instance.Domain, n: 6000, slow: 1000}
	for _, k := range kinds {
		if k.missing() {
			continue
		}
		dir := scratch(t, *work)
		box := filepath.Join(dir, "mail")
		if err := os.Mkdir(box, 0777); err != nil {
			t.Fatal(err)
		}
		os.Chmod(box, 0777|os.ModeSticky)
		s := k.start(t, setting{dir: dir, relay: "[127.0.0.1]:" + freePort(t), local: box})
		arrived := func() int { return filesBelow(filepath.Join(box, "nobody", "new")) }
		var r result
		for range *rounds {
			n := l.messages(k.name)
			want := arrived() + n
			before, start := used(s.pid()), time.Now()
			l.source(t, s.addr(), n)
			await(t, "all mail in the Maildir", func() bool { return arrived() >= want })
			r.rates = append(r.rates, float64(n)/time.Since(start).Seconds())
			r.add(used(s.pid()).minus(before), n)
			if got := arrived(); got != want {
				t.Errorf("%s: %d files too many", k.name, got-want)
			}
		}
		here.row(l.name, k.name, r.span(), number(r.cpu.total/float64(r.messages))+" µs", r.each())
		localLedger(t, k.name, s, filepath.Join(box, "nobody", "new"))
		s.stop()
	}
}

// localLedger checks that each of some messages is in the Maildir once and whole.
func localLedger(t *testing.T, name string, s system, dir string) {
	t.Helper()
	const n = 200
	var book ledger.Ledger
	before := map[string]bool{}
	files, _ := filepath.Glob(dir + "/*")
	for _, f := range files {
		before[f] = true
	}
	x, err := source.Dial(s.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for k := range n {
		if o, err := x.Send(source.New(fmt.Sprint("local", k), "s@example.com", 4096, "nobody@"+instance.Domain), &book); err != nil || o.Acked == nil {
			t.Fatalf("%+v %v", o, err)
		}
	}
	await(t, "all mail in the Maildir", func() bool { return filesBelow(dir) >= len(before)+n })
	files, _ = filepath.Glob(dir + "/*")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && !before[f] {
			book.Found("nobody@"+instance.Domain, b)
		}
	}
	if v := book.Judge(); v.Err() != nil || len(v.Duplicates) > 0 {
		failures = append(failures, fmt.Sprintf("%s, local: %s", name, v))
		t.Errorf("%s: %s", name, v)
	}
}

// TestSendmail submits by the traditional command, four at a time.
func TestSendmail(t *testing.T) {
	const workers, n = 4, 300
	message := []byte("Subject: x\n\n" + string(make([]byte, 0, 4096)))
	for range 60 {
		message = append(message, "0123456789012345678901234567890123456789012345678901234567890123\n"...)
	}
	for _, k := range kinds {
		if k.missing() {
			continue
		}
		sink := startCounter(t)
		s := k.start(t, setting{dir: scratch(t, *work), relay: sink.relay()})
		var r result
		for range *rounds {
			want := sink.count() + n
			before, start := used(s.pid()), time.Now()
			var wg sync.WaitGroup
			for range workers {
				wg.Go(func() {
					for range n / workers {
						if out, err := s.sendmail(message, "-i", "-f", "s@example.com", "r@example.net").CombinedOutput(); err != nil {
							t.Errorf("%s: sendmail: %v %s", k.name, err, out)
							return
						}
					}
				})
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			await(t, "all mail at smtp-sink", func() bool { return sink.count() >= want })
			r.rates = append(r.rates, float64(n)/time.Since(start).Seconds())
			r.add(used(s.pid()).minus(before), n)
			if got := sink.count(); got != want {
				t.Errorf("%s: %d messages too many", k.name, got-want)
			}
		}
		here.row("sendmail, 4 KB, 4 at once", k.name, r.span(), number(r.cpu.total/float64(r.messages))+" µs without the commands", r.each())
		s.stop()
	}
}
