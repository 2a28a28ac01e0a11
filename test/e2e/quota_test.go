package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/sink"
	"postrider/test/source"
)

// asked says how RCPT is answered, without a message.
func asked(t *testing.T, i *instance.Instance, sender, rcpt string) string {
	t.Helper()
	s, err := source.Dial(i.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, line := range []string{"EHLO quota.test", "MAIL FROM:<" + sender + ">"} {
		if _, err := s.Command("250", "%s", line); err != nil {
			t.Fatal(err)
		}
	}
	reply, err := s.Command("250", "RCPT TO:<%s>", rcpt)
	if no := (*source.Refusal)(nil); errors.As(err, &no) {
		return no.Reply
	} else if err != nil {
		t.Fatal(err)
	}
	return reply
}

// A quota counts what is in the queue, whoever brought it, over a restart, the death of
// qmgr and a new policy; beyond it RCPT is refused with 452, by that key alone, and as soon
// as something of the key is gone there is room again.
func TestPolicyQuotas(t *testing.T) {
	t.Parallel()
	s := sink.New(t, nil)
	s.Do(sink.Behaviour{Rcpt: func(_, rcpt string) string { return "450 4.2.1 not now" }})
	const policy = `
quota "per-sender" {
  key      = [sender]
  messages = %d
}
quota "per-tenant" {
  key      = [tenant, rcpt_domain]
  when     = tenant != ""
  messages = 2
}
facts { tenant = lookup("inline:{acme.test=acme, acme.example=acme}", sender_domain) }
rule { }
`
	i := instance.New(t, "relayhost = "+s.NextHop(), "minimal_backoff_time = 1h", "sender_canonical_maps = inline:{old@source.test=a@source.test}")
	i.WriteFile("conf/sched.cf", fmt.Sprintf(policy, 3))
	i.Start()
	full := func(sender, rcpt, text string) {
		t.Helper()
		i.Await("452 for "+sender, func() bool { return strings.Contains(asked(t, i, sender, rcpt), text) })
	}
	room := func(sender, rcpt string) {
		t.Helper()
		i.Await("room for "+sender, func() bool { return strings.HasPrefix(asked(t, i, sender, rcpt), "250") })
	}
	const ofA = "452 4.3.1 <r@x.test>: Recipient address rejected: queue quota per-sender of sender=a@source.test is used up, try again later"

	var ids []string
	for n := range 3 {
		if r := asked(t, i, "a@source.test", "r@x.test"); !strings.HasPrefix(r, "250") {
			t.Fatalf("refused after %d: %s", n, r)
		}
		ids = append(ids, send(t, i, nil, source.New(fmt.Sprint("a-", n), "a@source.test", 500, "r@x.test", "q@y.test")))
	}
	full("a@source.test", "r@x.test", ofA)
	full("old@source.test", "r@x.test", ofA) // what cleanup makes of the sender
	i.AwaitLog(`smtpd.*reject: RCPT from .*: 452 4.3.1 <r@x.test>: .*queue quota per-sender of sender=a@source.test is used up.*from=<a@source.test>`)
	if r := asked(t, i, "b@source.test", "r@x.test"); !strings.HasPrefix(r, "250") {
		t.Errorf("another sender: %s", r)
	}

	// Two domains of one tenant share; a message of its own to another domain does not count.
	send(t, i, nil, source.New("t-0", "x@acme.test", 500, "r@x.test"))
	send(t, i, nil, source.New("t-1", "y@acme.example", 500, "r@x.test"))
	full("z@acme.test", "r@x.test", "queue quota per-tenant of tenant=acme, rcpt_domain=x.test is used up")
	if r := asked(t, i, "z@acme.test", "r@y.test"); !strings.HasPrefix(r, "250") {
		t.Errorf("another domain: %s", r)
	}
	shape := i.Must("postqueue", "-q", "-Q")
	if !strings.Contains(shape, "        3         3  per-sender sender=a@source.test\n") || !strings.Contains(shape, "        2         2  per-tenant tenant=acme, rcpt_domain=x.test\n") {
		t.Errorf("postqueue -q -Q:\n%s", shape)
	}

	// What comes by sendmail is taken, and counts.
	i.Must("sendmail", "-f", "c@source.test", "r@x.test")
	i.Must("sendmail", "-f", "c@source.test", "r@x.test")
	i.Must("sendmail", "-f", "c@source.test", "r@x.test")
	full("c@source.test", "r@x.test", "452 ")
	i.Must("sendmail", "-f", "c@source.test", "r@x.test")
	i.Await("four of it", func() bool {
		return strings.Contains(i.Must("postqueue", "-q", "-Q"), "        4         3  per-sender sender=c@source.test\n")
	})

	for _, id := range ids {
		i.AwaitQueue(id, "deferred")
	}
	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}
	i.Start()
	full("a@source.test", "r@x.test", ofA)
	i.KillOne("qmgr")
	if r := asked(t, i, "a@source.test", "r@x.test"); r != ofA {
		t.Errorf("while qmgr is away: %s", r)
	}
	i.Await("qmgr is back", func() bool { return i.Run("postqueue", "-q", "-Q").Code == 0 })
	i.KillOne("cleanup")
	full("c@source.test", "r@x.test", "452 ")

	i.Must("postsuper", "-d", ids[0])
	room("a@source.test", "r@x.test")
	i.Must("postsuper", "-h", ids[1]) // on hold is in the queue
	send(t, i, nil, source.New("a-3", "a@source.test", 500, "r@x.test"))
	full("a@source.test", "r@x.test", ofA)

	i.WriteFile("conf/sched.cf", fmt.Sprintf(policy, 4))
	i.Must("master", "reload")
	room("a@source.test", "r@x.test")
	full("c@source.test", "r@x.test", "452 ")

	// Delivered mail is gone from the count.
	s.Do(sink.Behaviour{})
	i.Must("postqueue", "-f")
	room("c@source.test", "r@x.test")
	i.Await("nothing counted but what is on hold", func() bool {
		return strings.TrimSpace(i.Must("postqueue", "-q", "-Q")) == strings.TrimSpace(" messages        of  quota\n        1         4  per-sender sender=a@source.test")
	})
}
