package satellite

import (
	"net"
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/source"
)

// TestMailboxTransport: with mailbox_transport aliases expand here, and mailboxes are
// Dovecot's; the log is Postfix's. While Dovecot is away the mail waits, and its attempts
// are counted once.
func TestMailboxTransport(t *testing.T) {
	t.Parallel()
	i := instance.New(t, "myorigin = "+instance.Domain)
	host, _, _ := net.SplitHostPort(i.Addr)
	d := newDovecot(t, host)
	i.AddService("lmtp unix - - n - - lmtp")
	i.Set("mailbox_transport = lmtp:unix:"+d.dir+"/lmtp", "alias_maps = inline:{ {root = alice} {both = alice, bob+lists} {news = /dev/null} }", "lmtp_destination_concurrency_limit = 2",
		"mailbox_transport_maps = inline:{ {ada = error:5.2.1 ada is on leave} }", "minimal_backoff_time = 1s", "maximal_backoff_time = 1s", "queue_run_delay = 1s",
		"lmtp_destination_concurrency_failed_cohort_limit = 100")
	i.Start()
	send := func(tag string, to ...string) string {
		t.Helper()
		o, err := source.Send1(i.Addr, source.New(tag, "a@source.test", 2000, to...), nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(o.QueueID)
	}
	relay := "relay=" + quote(instance.Hostname+"["+d.dir+"/lmtp]") + `, (conn_use=\d+, )?delay=[\d.]+, delays=\S+, `
	saved := func(u string) string {
		return relay + `dsn=2\.0\.0, status=sent \(250 2\.0\.0 <` + quote(u) + `@local\.test> \S+ Saved\)$`
	}
	id := send("one", "Alice@local.test", "root@local.test", "carol@local.test", "ada@local.test")
	i.AwaitLog(`postfix/lmtp\[\d+\]: ` + id + `: to=<Alice@local\.test>, ` + saved("Alice"))
	i.AwaitLog(`postfix/lmtp\[\d+\]: ` + id + `: to=<alice@local\.test>, orig_to=<root@local\.test>, ` + saved("alice"))
	i.AwaitLog(id + `: to=<carol@local\.test>, ` + relay + `dsn=5\.1\.1, status=bounced \(host .* said: 550 5\.1\.1 <carol@local\.test> User doesn't exist: .*\(in reply to RCPT TO command\)\)$`)
	i.AwaitLog(`postfix/error\[\d+\]: ` + id + `: to=<ada@local\.test>, relay=none, .*dsn=5\.2\.1, status=bounced \(ada is on leave\)$`)
	i.Await("alice's mail", func() bool { return len(d.saved("alice")) == 2 })
	for _, text := range d.saved("alice") {
		if strings.Contains(text, "\nX-Original-To: ") || strings.Count("\n"+text, "\nDelivered-To: ") != 1 { // Dovecot's
			t.Errorf("local wrote into it:\n%.400s", text)
		}
	}
	if n := len(i.Grep(id + ": to=<")); n != 4 {
		t.Errorf("%d outcomes", n)
	}

	id = send("both", "both@local.test")
	i.AwaitLog(`postfix/local\[\d+\]: ` + id + `: to=<both@local\.test>, relay=local, .*status=sent \(forwarded as \w+\)$`)
	i.AwaitLog(`to=<alice@local\.test>, orig_to=<both@local\.test>, ` + saved("alice"))
	i.AwaitLog(`to=<bob\+lists@local\.test>, orig_to=<both@local\.test>, ` + saved("bob+lists"))
	i.AwaitLog(send("file", "news@local.test") + `: to=<news@local\.test>, relay=local, .*status=sent`)

	d.stop()
	id = send("away", "bob@local.test")
	i.AwaitLog(id + `: to=<bob@local\.test>, relay=none, .*dsn=4\.4\.1, status=deferred \(connect to ` + quote(instance.Hostname+"["+d.dir+"/lmtp]") + `: (Connection refused|No such file or directory)\)$`)
	d.start()
	i.AwaitLog(id + `: to=<bob@local\.test>, ` + saved("bob"))
	i.AwaitLog(id + ": removed$")
	i.Await("bob's mail", func() bool { return len(d.saved("bob")) == 2 })

	if r := i.Run("sendmail", "-bv", "alice@local.test"); r.Code != 0 {
		t.Errorf("sendmail -bv: %d %s", r.Code, r.Stderr)
	}
	i.AwaitLog(`postfix/lmtp\[\d+\]: \w+: to=<alice@local\.test>, ` + relay + `dsn=2\.1\.5, status=deliverable \(250 2\.1\.5 OK\)$`)
}
