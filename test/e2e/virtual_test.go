package e2e

import (
	"os"
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// Virtual aliases in a table made by postmap: they are expanded before the message is
// taken, who is not there is refused, and a table made anew counts without a reload.
func TestVirtual(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	far := sink.New(t, &l)
	i := instance.New(t, route("sink.test", far), "virtual_alias_domains = virtual.test", "always_bcc = archive@sink.test")
	i.Set("virtual_alias_maps = hash:"+i.Conf+"/virtual", "canonical_maps = regexp:"+i.Conf+"/canonical")
	i.WriteFile("conf/virtual", "team@virtual.test one@local.test, two@sink.test,\n  three@sink.test\ninfo@virtual.test team@virtual.test\n")
	i.WriteFile("conf/canonical", "/^(.*)@old\\.test$/ ${1}@new.test\n")
	i.Must("postmap", i.Conf+"/virtual")
	i.Start()

	answer := func(to string) string {
		s, err := source.Dial(i.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Command("250", "MAIL FROM:<a@source.test>"); err != nil {
			t.Fatal(err)
		}
		r, err := s.Command("", "RCPT TO:<%s>", to)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	const unknown = ": Recipient address rejected: User unknown in virtual alias table"
	for to, want := range map[string]string{"nobody@virtual.test": "550 5.1.1 <nobody@virtual.test>" + unknown, "Info@Virtual.test": "250 2.1.5 Ok"} {
		if got := answer(to); strings.TrimSpace(got) != want {
			t.Errorf("%s: got %q, want %q", to, got, want)
		}
	}
	id := send(t, i, nil, source.New("expanded", "me@old.test", 2000, "info@virtual.test"))
	i.Await("the members", func() bool { return len(far.Find("expanded")) > 0 && len(i.Maildir("one")) == 1 })
	i.AwaitLog(id + `: to=<two@sink\.test>, orig_to=<info@virtual\.test>, relay=\S+, .*status=sent`)
	i.AwaitLog(id + `: from=<me@new\.test>, size=\d+, nrcpt=4 \(queue active\)$`)
	to := map[string]bool{}
	i.Await("an empty queue", i.Drained)
	for _, m := range far.Find("expanded") {
		for _, r := range m.Recipients {
			to[r] = true
		}
	}
	if len(to) != 3 || !to["two@sink.test"] || !to["three@sink.test"] || !to["archive@sink.test"] {
		t.Errorf("delivered to %v", to)
	}

	i.WriteFile("conf/virtual", "nobody@virtual.test two@sink.test\n")
	i.Must("postmap", i.Conf+"/virtual")
	i.Await("the new table", func() bool {
		return strings.HasPrefix(answer("nobody@virtual.test"), "250") && strings.HasPrefix(answer("info@virtual.test"), "550")
	})
	send(t, i, nil, source.New("later", "me@source.test", 1000, "nobody@virtual.test"))
	i.Await("mail by the new table", func() bool { return len(far.Find("later")) > 0 })

	// An index that is garbage does not take the place of one that serves.
	if err := os.Rename(i.WriteFile("conf/garbage", "garbage"), i.Conf+"/virtual.cdb"); err != nil {
		t.Fatal(err)
	}
	i.AwaitLog(`master\[\d+\]: error: .*virtual\.cdb: the old one stays in use: .*not a cdb file`)
	if got := answer("nobody@virtual.test"); !strings.HasPrefix(got, "250") {
		t.Errorf("after garbage: %q", got)
	}
}
