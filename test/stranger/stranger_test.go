package stranger

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// entry is one recipient, as spool.py shows it: id, queue, sender, recipient, size,
// checksum.
type entry [6]string

// extracted reads what postsuper -x wrote, as a shell script would.
func extracted(t *testing.T, dir string) (all []entry) {
	t.Helper()
	heads, err := filepath.Glob(dir + "/*.envelope")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range heads {
		head, _ := os.ReadFile(name)
		content, err := os.ReadFile(strings.TrimSuffix(name, ".envelope") + ".eml")
		if err != nil {
			t.Fatal(err)
		}
		value := map[string]string{}
		for l := range strings.Lines(string(head)) {
			k, v, ok := strings.Cut(strings.TrimSuffix(l, "\n"), ": ")
			if !ok {
				t.Fatalf("%s: %q", name, l)
			}
			if value[k] = v; k == "recipient" {
				sum := crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli))
				all = append(all, entry{value["id"], value["queue"], value["sender"], v, fmt.Sprint(len(content)), fmt.Sprintf("%08x", sum)})
			}
		}
		if value["size"] != fmt.Sprint(len(content)) {
			t.Errorf("%s: size %s of %d bytes", name, value["size"], len(content))
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return slices.Compare(a[:], b[:]) })
	return all
}

// stranger runs spool.py.
func stranger(t *testing.T, queue string) (all []entry) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(python, "spool.py", queue)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Fatalf("spool.py: %v\n%s", err, errs.String())
	}
	for l := range strings.Lines(out.String()) {
		var e entry
		if n := copy(e[:], strings.Split(strings.TrimSuffix(l, "\n"), "\t")); n != len(e) {
			t.Fatalf("spool.py: %q", l)
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b entry) int { return slices.Compare(a[:], b[:]) })
	return all
}

// running is what the system itself says of its queue, with contents from postcat.
func running(t *testing.T, i *instance.Instance) (all []entry) {
	t.Helper()
	for _, q := range i.List() {
		content := strings.ReplaceAll(i.Must("postcat", "-q", "-h", "-b", q.ID), "\n", "\r\n")
		sum := crc32.Checksum([]byte(content), crc32.MakeTable(crc32.Castagnoli))
		queue := q.Queue
		if queue == "active" {
			queue = "incoming"
		}
		for _, r := range q.Recipients {
			all = append(all, entry{q.ID, queue, q.Sender, r.Address, fmt.Sprint(len(content)), fmt.Sprintf("%08x", sum)})
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return slices.Compare(a[:], b[:]) })
	return all
}

func same(t *testing.T, what string, got, want []entry) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d recipients\n%v\nnot %d\n%v", what, len(got), got, len(want), want)
	}
}

// Of a system at work, of one that is down, of one that was killed, and of a copy
// without log, postsuper -x, the running system and a stranger's reader say the same.
func TestSame(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	far := sink.New(t, &l)
	far.Do(sink.Behaviour{Rcpt: func(_, r string) string {
		if strings.HasPrefix(r, "good") {
			return ""
		}
		return "450 4.2.0 busy"
	}})
	hang := sink.New(t, &l)
	wait := make(chan struct{})
	hang.Do(sink.Behaviour{Dot: func(*sink.Mail) string { <-wait; return "" }})
	t.Cleanup(func() { close(wait) })
	i := instance.Started(t, "minimal_backoff_time = 1000s", "maximal_backoff_time = 1000s", "journal_inline_limit = 100000",
		"transport_maps = inline:{ {sink.test=smtp:"+far.NextHop()+"} {hang.test=smtp:"+hang.NextHop()+"} }")
	var ids []string
	send := func(n, size int, recipients ...string) string {
		t.Helper()
		o, err := source.Send1(i.Addr, source.New(fmt.Sprintf("s-%d", n), "a@source.test", size, recipients...), &l)
		if err != nil || o.QueueID == "" {
			t.Fatalf("%v, %+v", err, o)
		}
		ids = append(ids, o.QueueID)
		return o.QueueID
	}
	for n := range 8 {
		size := 1000 * (n + 1)
		if n == 3 {
			size = 120000 // with a file of its own
		}
		i.AwaitQueue(send(n, size, "good@sink.test", fmt.Sprintf("r%d@sink.test", n), fmt.Sprintf("x%d@sink.test", n)), "deferred")
	}
	i.Must("postsuper", "-h", ids[1], "-h", ids[3])
	i.Must("postsuper", "-d", ids[2])
	send(8, 2000, "r@hang.test")
	i.Await("a delivery that hangs", func() bool { return hang.Pending() == 1 })

	outs := 0
	extract := func(args ...string) []entry {
		t.Helper()
		outs++
		out := filepath.Join(i.Dir, fmt.Sprint("out", outs))
		r := i.Run("postsuper", append([]string{"-x", out}, args...)...)
		if r.Code != 0 || r.Stdout != "" {
			t.Fatalf("postsuper -x: %+v", r)
		}
		got := extracted(t, out)
		messages := map[string]bool{}
		for _, e := range got {
			messages[e[0]] = true
		}
		if want := fmt.Sprintf("postsuper: Extracted: %d messages\n", len(messages)); r.Stderr != want {
			t.Errorf("said %q, not %q", r.Stderr, want)
		}
		return got
	}
	want := running(t, i)
	if len(want) != 15 {
		t.Fatalf("%d recipients: %v", len(want), want)
	}
	same(t, "up", extract(), want)
	same(t, "up, a stranger", stranger(t, i.Queue), want)

	if r := i.Run("postsuper", "-s"); r.Code != 0 || r.Stderr != "" {
		t.Errorf("postsuper -s: %+v", r)
	}
	i.Kill()
	if r := i.Run("postsuper", "-s", i.Queue); r.Code != 0 || r.Stderr != "" {
		t.Errorf("postsuper -s of a killed system: %+v", r)
	}
	same(t, "killed", extract(), want)
	same(t, "killed, a stranger", stranger(t, i.Queue), want)
	i.Must("postsuper", "-H", ids[1]) // a start and a stop, with a checkpoint
	for k := range want {
		if want[k][0] == ids[1] {
			want[k][1] = "deferred"
		}
		if want[k][0] == ids[8] {
			want[k][1] = "deferred" // it was filed
		}
	}
	if r := i.RunWith("Subject: waits\n\nbody\n", "sendmail", "-f", "a@source.test", "drop@sink.test"); r.Code != 0 {
		t.Fatalf("sendmail: %+v", r)
	}
	drops := i.Files("maildrop")
	if len(drops) != 1 {
		t.Fatalf("maildrop: %v", drops)
	}
	down := extract(i.Queue) // named: no configuration
	k := slices.IndexFunc(down, func(e entry) bool { return e[1] == "maildrop" })
	if k < 0 || down[k][2] != "a@source.test" || down[k][3] != "drop@sink.test" {
		t.Fatalf("down: %v", down)
	}
	same(t, "down, a stranger", stranger(t, i.Queue), down)
	same(t, "down", slices.Delete(slices.Clone(down), k, k+1), want)

	// A copy without its log has every message; of recipients it knows what the
	// state records say.
	copied := filepath.Join(i.Dir, "copy")
	if out, err := exec.Command("cp", "-r", i.Queue, copied).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	os.RemoveAll(copied + "/log")
	out := filepath.Join(i.Dir, "nolog")
	if r := i.RunAs(nil, "", "postsuper", "-x", out, copied); r.Code != 1 || !strings.Contains(r.Stderr, "no good checkpoint") || !strings.Contains(r.Stderr, "Extracted: 10 messages\n") {
		t.Errorf("without a log: %+v", r)
	}
	same(t, "without a log, a stranger", stranger(t, copied), extracted(t, out))
}
