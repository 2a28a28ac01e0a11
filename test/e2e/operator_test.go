package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// The operators' commands do the same whether the system is up, through qmgr, or down,
// on the locked spool; and what they said holds after a kill of everything.
func TestOperators(t *testing.T) {
	t.Parallel()
	for _, up := range []bool{true, false} {
		t.Run(map[bool]string{true: "up", false: "down"}[up], func(t *testing.T) { t.Parallel(); operators(t, up) })
	}
}

func operators(t *testing.T, up bool) {
	var l ledger.Ledger
	far := sink.New(t, &l)
	busy := sink.Behaviour{Rcpt: func(string, string) string { return "450 4.2.0 busy" }}
	far.Do(busy)
	i := instance.Started(t, "minimal_backoff_time = 1000s", "maximal_backoff_time = 1000s", route("sink.test", far))
	ids := make([]string, 5)
	for n := range ids {
		ids[n] = send(t, i, &l, source.New(fmt.Sprintf("op-%d", n), "a@source.test", 2000*(n+1), fmt.Sprintf("r%d@sink.test", n)))
		i.AwaitQueue(ids[n], "deferred")
	}
	if !up {
		if err := i.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	where := func() string { // of each message, a letter: d deferred, h hold, a active, . gone
		t.Helper()
		s := ""
		list := i.List()
		for _, id := range ids {
			n := slices.IndexFunc(list, func(q instance.Queued) bool { return q.ID == id })
			if n < 0 {
				s += "."
			} else {
				s += list[n].Queue[:1]
			}
		}
		return s
	}
	// do runs postsuper and compares what it says and what the queue is then.
	do := func(want, says, stdin string, args ...string) {
		t.Helper()
		r := i.RunWith(stdin, "postsuper", args...)
		if r.Code != 0 || r.Stdout != "" || !strings.HasSuffix(r.Stderr, says) {
			t.Errorf("postsuper %v: exit code %d, said %q, not %q", args, r.Code, r.Stderr, says)
		}
		if got := where(); got != want {
			t.Fatalf("after postsuper %v: %s, not %s", args, got, want)
		}
	}
	again := func() { // a kill of everything right behind the command
		t.Helper()
		i.Kill()
		if up {
			i.Start()
		}
	}

	if got := where(); got != "ddddd" {
		t.Fatalf("before: %s", got)
	}
	text := i.Must("postqueue", "-p")
	reason := `host 127.0.0.1[127.0.0.1] said: 450 4.2.0 busy (in reply to RCPT TO command)`
	if want := regexp.MustCompile(`(?m)\A----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n` +
		`(\w{11,16} {1,7} +\d+ [A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d a@source\.test\n *\(` + regexp.QuoteMeta(reason) + `\)\n {47}r\d@sink\.test\n\n){5}-- \d+ Kbytes in 5 Requests\.\n\z`); !want.MatchString(text) {
		t.Errorf("postqueue -p:\n%s", text)
	}
	if q := i.Entry(ids[0]); q.Size < 2000 || q.Size > 2600 || q.Recipients[0].Reason != reason {
		t.Errorf("postqueue -j: %+v", q)
	}
	whole := i.Must("postcat", "-q", ids[2])
	if !strings.Contains(whole, "*** ENVELOPE RECORDS deferred/"+ids[2]) || !strings.Contains(whole, "sender: a@source.test\n") || !strings.Contains(whole, "recipient: r2@sink.test\n") {
		t.Errorf("postcat -q:\n%.600s", whole)
	}
	if id, sum, err := ledger.Identify([]byte(i.Must("postcat", "-q", "-h", "-b", ids[2]))); id != "op-2" || sum != ledger.Hash(ledger.Content("op-2", 6000)) {
		t.Errorf("postcat -qhb: id %q, %v, or another content", id, err)
	}
	if r := i.Run("postcat", "-q", "4jX9Q000000zz"); r.Code == 0 || r.Stderr == "" {
		t.Errorf("postcat of no message: %+v", r)
	}

	do("hdddd", ": placed on hold\npostsuper: Placed on hold: 1 message\n", "", "-h", ids[0])
	do("ddddd", ": released from hold\npostsuper: Released from hold: 1 message\n", "", "-H", ids[0])
	do("hhddd", "postsuper: Placed on hold: 2 messages\n", ids[0]+"\n"+ids[1]+"\n", "-h", "-")
	again()
	do("hhddd", "", "", "-h", "4jX9Q000000zz")
	do("hhdd.", ": removed\npostsuper: Deleted: 1 message\n", "", "-d", ids[4])
	again()
	do("hh...", "postsuper: Deleted: 2 messages\n", "", "-d", "ALL", "deferred")
	again()
	do("dd...", "postsuper: Released from hold: 2 messages\n", "", "-H", "ALL")
	do("hh...", "postsuper: Placed on hold: 2 messages\n", "", "-h", "ALL")
	again()
	if got := where(); got != "hh..." {
		t.Errorf("after a kill of everything: %s", got)
	}
	if r := i.Run("postsuper", "-d", "not/an/id"); r.Code != 0 || r.Stderr != "postsuper: warning: invalid mail queue id: not/an/id\npostsuper: Deleted: 0 messages\n" {
		t.Errorf("postsuper -d not/an/id: %+v", r)
	}

	// What is held stays, whatever is flushed; what is released goes.
	far.Do(sink.Behaviour{})
	if up {
		i.Must("postqueue", "-f")
	} else {
		if r := i.Run("postqueue", "-f"); r.Code != 69 || r.Stderr != "postqueue: fatal: Cannot flush mail queue - mail system is down\n" {
			t.Errorf("postqueue -f while down: %+v", r)
		}
		i.Start()
	}
	witness := send(t, i, &l, source.New("witness", "a@source.test", 1000, "w@sink.test"))
	i.AwaitLog(witness + ": removed")
	if got := where(); got != "hh..." {
		t.Errorf("after a flush: %s", got)
	}
	if up {
		do("dh...", "postsuper: Released from hold: 1 message\n", "", "-H", ids[0])
	} else {
		do("dh...", "postsuper: Released from hold: 1 message\n", "", "-H", ids[0])
	}
	i.Must("postqueue", "-i", ids[0])
	i.AwaitQueue(ids[0], "")
	do(".....", "postsuper: Deleted: 1 message\n", "", "-d", "ALL")
	if got := i.Must("postqueue", "-p"); got != "Mail queue is empty\n" {
		t.Errorf("postqueue -p of an empty queue: %q", got)
	}
	for n, want := range []int{1, 0, 0, 0, 0} {
		if got := len(far.Find(fmt.Sprintf("op-%d", n))); got != want {
			t.Errorf("message %d was delivered %d times, not %d", n, got, want)
		}
	}
	if v := l.Judge(); len(v.Mixed)+len(v.Unexpected)+len(v.Duplicates) > 0 {
		t.Error(v)
	}
}

// A flush tries everything that is deferred now, -i one message alone.
func TestFlush(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	far := sink.New(t, &l)
	far.Refuse()
	i := instance.Started(t, "minimal_backoff_time = 1000s", "maximal_backoff_time = 1000s", route("sink.test", far))
	var ids []string
	for n := range 20 {
		ids = append(ids, send(t, i, &l, source.New(fmt.Sprintf("flush-%d", n), "a@source.test", 1000, "r@sink.test")))
	}
	deferred := func() (n int) {
		for _, q := range i.List() {
			if q.Queue == "deferred" {
				n++
			}
		}
		return n
	}
	i.Await("20 deferred", func() bool { return deferred() == 20 })
	if q := i.Entry(ids[0]); !strings.Contains(q.Recipients[0].Reason, "Connection refused") {
		t.Errorf("reason %q", q.Recipients[0].Reason)
	}
	far.Accept(t)
	i.Must("postqueue", "-i", ids[7])
	i.AwaitQueue(ids[7], "")
	if n := deferred(); n != 19 {
		t.Errorf("%d deferred after -i, not 19", n)
	}
	i.Must("postqueue", "-f")
	i.Await("an empty queue", i.Drained)
	if v := l.Judge(); v.Err() != nil || v.Delivered != 20 || len(v.Duplicates) > 0 {
		t.Error(v.Err(), v)
	}
}
