package smtpd

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/lib/proto"
	"postrider/lib/submit/submittest"
)

// zone is the DNS of the tests: names by what they are.
func zone(q proto.Ask) proto.Told {
	found := func(values ...string) proto.Told { return proto.Told{Outcome: proto.NameFound, Values: values} }
	key := fmt.Sprint(q.Kind, " ", q.Name)
	switch key {
	case "3 mail.example", "2 mx.mail.example":
		return found("mx.mail.example")
	case "2 host.example":
		return found("192.0.2.5")
	case "3 nomail.example":
		return proto.Told{Outcome: proto.NameNoMail}
	case "3 broken.example", "2 broken.example", "1 1.0.0.127.broken.list":
		return proto.Told{}
	case "1 1.0.0.127.block.list", "1 1.0.0.127.allow.list", "1 bad.example.names.list", "1 client.example.names.list":
		return found("127.0.0.2")
	case "4 1.0.0.127.block.list":
		return found("see https://block.list/?q=127.0.0.1")
	}
	return proto.Told{Outcome: proto.NameNotFound}
}

// talk says lines and returns the replies, a line each.
func (i *instance) talk(lines ...string) []string {
	i.t.Helper()
	c, err := net.Dial("tcp", i.addr)
	if err != nil {
		i.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(c)
	var all []string
	hear := func() bool {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				all = append(all, "closed")
				return false
			}
			if len(line) > 3 && line[3] == ' ' {
				all = append(all, queueID.ReplaceAllString(strings.TrimSpace(line), "ID"))
				return true
			}
		}
	}
	for _, l := range append([]string{""}, lines...) {
		if l != "" {
			c.Write([]byte(l + "\r\n"))
		}
		if !hear() {
			break
		}
	}
	return all
}

// rcpt is the reply to a recipient from a sender.
func (i *instance) rcpt(helo, from, to string) string {
	i.t.Helper()
	all := i.talk("EHLO "+helo, "MAIL FROM:<"+from+">", "RCPT TO:<"+to+">")
	return all[len(all)-1]
}

func TestRestrictions(t *testing.T) {
	const rcptOK = "250 2.1.5 Ok"
	for _, c := range []struct {
		list, helo, from, want string
	}{
		{"smtpd_sender_restrictions = reject_unknown_sender_domain", "c", "a@mail.example", rcptOK},
		{"smtpd_sender_restrictions = reject_unknown_sender_domain", "c", "a@host.example", rcptOK},
		{"smtpd_sender_restrictions = reject_unknown_sender_domain", "c", "", rcptOK},
		{"smtpd_sender_restrictions = reject_unknown_sender_domain", "c", "a@[192.0.2.1]", rcptOK},
		{"smtpd_sender_restrictions = reject_unknown_sender_domain", "c", "a@none.example", "450 4.1.8 <a@none.example>: Sender address rejected: Domain not found"},
		{"smtpd_sender_restrictions = reject_unknown_sender_domain\nunknown_address_reject_code = 550", "c", "a@none.example", "550 5.1.8 <a@none.example>: Sender address rejected: Domain not found"},
		{"smtpd_sender_restrictions = reject_unknown_sender_domain", "c", "a@nomail.example", "550 5.7.27 <a@nomail.example>: Sender address rejected: Domain nomail.example does not accept mail (nullMX)"},
		{"smtpd_sender_restrictions = reject_unknown_sender_domain", "c", "a@broken.example", "450 4.1.8 <a@broken.example>: Sender address rejected: Domain not found"},
		{"smtpd_sender_restrictions = reject_unknown_sender_domain\nsmtpd_recipient_restrictions = reject", "c", "a@broken.example", "554 5.7.1 <alice@ours.example>: Recipient address rejected: Access denied"},
		{"smtpd_sender_restrictions = reject_unknown_sender_domain", "c", "nobody@ours.example", rcptOK},
		{"smtpd_sender_restrictions = reject_unlisted_sender", "c", "nobody@ours.example", "550 5.1.0 <nobody@ours.example>: Sender address rejected: User unknown in local recipient table"},
		{"smtpd_reject_unlisted_sender = yes", "c", "nobody@ours.example", "550 5.1.0 <nobody@ours.example>: Sender address rejected: User unknown in local recipient table"},
		{"smtpd_sender_restrictions = reject_non_fqdn_sender", "c", "a@short", "504 5.5.2 <a@short>: Sender address rejected: need fully-qualified address"},
		{"smtpd_helo_restrictions = reject_unknown_helo_hostname", "host.example", "a@b.example", rcptOK},
		{"smtpd_helo_restrictions = reject_unknown_helo_hostname", "mail.example", "a@b.example", rcptOK},
		{"smtpd_helo_restrictions = reject_unknown_helo_hostname", "none.example", "a@b.example", "450 4.7.1 <none.example>: Helo command rejected: Host not found"},
		{"smtpd_helo_restrictions = reject_invalid_helo_hostname", "[127.0.0.1]", "a@b.example", rcptOK},
		{"smtpd_helo_restrictions = reject_invalid_helo_hostname", "[127.0.0.300]", "a@b.example", "501 5.5.2 <[127.0.0.300]>: Helo command rejected: invalid ip address"},
		{"smtpd_helo_restrictions = reject_invalid_helo_hostname", "192.0.2.1", "a@b.example", "501 5.5.2 <192.0.2.1>: Helo command rejected: Invalid name"},
		{"smtpd_helo_restrictions = reject_rhsbl_helo names.list", "bad.example", "a@b.example", "554 5.7.1 Service unavailable; Helo command [bad.example] blocked using names.list"},
		{"smtpd_client_restrictions = reject_rbl_client block.list", "c", "a@b.example", "554 5.7.1 Service unavailable; Client host [127.0.0.1] blocked using block.list; see https://block.list/?q=127.0.0.1"},
		{"smtpd_client_restrictions = reject_rbl_client block.list=127.0.0.[3..9]", "c", "a@b.example", rcptOK},
		{"smtpd_client_restrictions = reject_rbl_client block.list=127.0.0.[1;2]", "c", "a@b.example", "554 5.7.1 Service unavailable; Client host [127.0.0.1] blocked using block.list; see https://block.list/?q=127.0.0.1"},
		{"smtpd_client_restrictions = permit_dnswl_client allow.list, reject_rbl_client block.list", "c", "a@b.example", rcptOK},
		{"smtpd_client_restrictions = reject_rbl_client broken.list", "c", "a@b.example", rcptOK},
		{"smtpd_client_restrictions = permit_dnswl_client broken.list, reject", "c", "a@b.example", "450 4.7.1 <client.example[127.0.0.1]>: Client host rejected: Service unavailable"},
		{"smtpd_client_restrictions = reject_rbl_client block.list\nrbl_reply_maps = inline:{ {block.list=521 5.7.2 $$rbl_what is bad} }", "c", "a@b.example", "521 5.7.2 127.0.0.1 is bad"},
		{"smtpd_client_restrictions = reject_rhsbl_client names.list", "c", "a@b.example", "554 5.7.1 Service unavailable; Client host [client.example] blocked using names.list"},
		{"smtpd_sender_restrictions = reject_rhsbl_sender names.list", "c", "a@bad.example", "554 5.7.1 Service unavailable; Sender address [a@bad.example] blocked using names.list"},
		{"smtpd_client_restrictions = check_client_access inline:{ {.example=REJECT} {example=REJECT by name} }", "c", "a@b.example", "554 5.7.1 <client.example[127.0.0.1]>: Client host rejected: by name"},
		{"smtpd_client_restrictions = check_client_access inline:{ {.example=REJECT by name} {127.0=REJECT} }\nparent_domain_matches_subdomains =", "c", "a@b.example", "554 5.7.1 <client.example[127.0.0.1]>: Client host rejected: by name"},
		{"smtpd_client_restrictions = check_client_access inline:{ {127.0=REJECT by net} }", "c", "a@b.example", "554 5.7.1 <client.example[127.0.0.1]>: Client host rejected: by net"},
		{"smtpd_client_restrictions = check_client_access cidr:{ {127.0.0.0/8 REJECT by cidr} }", "c", "a@b.example", "554 5.7.1 <client.example[127.0.0.1]>: Client host rejected: by cidr"},
		{"smtpd_client_restrictions = check_client_access fail:x", "c", "a@b.example", "451 4.3.5 Server configuration error"},
		{"smtpd_client_restrictions = reject_unknown_client_hostname", "c", "a@b.example", rcptOK},
		{"smtpd_client_restrictions = permit_mynetworks, reject_plaintext_session", "c", "a@b.example", "450 4.7.1 <client.example[127.0.0.1]>: Client host rejected: Session encryption is required"},
		{"smtpd_sender_restrictions = check_sender_access inline:{ {<>=REJECT nobody} }", "c", "", "554 5.7.1 <>: Sender address rejected: nobody"},
		{"smtpd_sender_restrictions = check_sender_access regexp:{ {/^(.*)@spam\\.example$$/ REJECT not $$1} }", "c", "x@spam.example", "554 5.7.1 <x@spam.example>: Sender address rejected: not x"},
		{"smtpd_restriction_classes = one, two\none = two\ntwo = check_sender_access inline:{a@b.example=one}, reject\nsmtpd_sender_restrictions = one", "c", "c@b.example", "554 5.7.1 <c@b.example>: Sender address rejected: Access denied"},
		{"smtpd_restriction_classes = one\none = check_sender_access inline:{a@b.example=one}\nsmtpd_sender_restrictions = one", "c", "a@b.example", "451 4.3.5 Server configuration error"},
		{"smtpd_recipient_restrictions = reject_unknown_recipient_domain, permit\nsmtpd_relay_restrictions = defer_if_permit", "c", "a@b.example", "450 4.7.0 <alice@ours.example>: Recipient address rejected: defer_if_permit requested"},
		{"soft_bounce = yes\nsmtpd_sender_restrictions = reject", "c", "a@b.example", "454 4.7.1 <a@b.example>: Sender address rejected: Access denied"},
		{"smtpd_sender_restrictions = reject_unverified_sender", "c", "a@b.example", "451 4.3.5 Server configuration error"},
	} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			i := run(t, c.list+"\n", &submittest.Cleanup{})
			i.namer(func(*proto.NameOf) *proto.Named {
				return &proto.Named{Name: "client.example", Claimed: "client.example"}
			})
			if got := i.rcpt(c.helo, c.from, "alice@ours.example"); got != c.want {
				t.Errorf("%s\n%s %s: %s\nwant %s", c.list, c.helo, c.from, got, c.want)
			}
		})
	}
}

// A client without a name.
func TestUnknownClient(t *testing.T) {
	for _, c := range []struct {
		named      proto.Named
		list, want string
	}{
		{proto.Named{}, "reject_unknown_client_hostname", "450 4.7.25 Client host rejected: cannot find your hostname, [127.0.0.1]"},
		{proto.Named{}, "reject_unknown_reverse_client_hostname", "550 5.7.25 Client host rejected: cannot find your reverse hostname, [127.0.0.1]"},
		{proto.Named{Temporary: true}, "reject_unknown_reverse_client_hostname", "450 4.7.25 Client host rejected: cannot find your reverse hostname, [127.0.0.1]"},
		{proto.Named{Claimed: "liar.example"}, "reject_unknown_reverse_client_hostname", "250 2.1.5 Ok"},
		{proto.Named{Claimed: "liar.example"}, "check_reverse_client_hostname_access inline:{liar.example=REJECT}", "554 5.7.1 <liar.example[127.0.0.1]>: Unverified Client host rejected: Access denied"},
	} {
		code := "450"
		if strings.HasPrefix(c.want, "550") {
			code = "550"
		}
		i := run(t, "unknown_client_reject_code = "+code+"\nsmtpd_client_restrictions = "+c.list+"\n", &submittest.Cleanup{})
		i.namer(func(*proto.NameOf) *proto.Named { return &c.named })
		if got := i.rcpt("c", "a@b.example", "alice@ours.example"); got != c.want {
			t.Errorf("%s: %s\nwant %s", c.list, got, c.want)
		}
	}
}

// smtpd_delay_reject = no: each command hears what is against it.
func TestNoDelayReject(t *testing.T) {
	for list, want := range map[string][]string{
		"smtpd_client_restrictions = reject":                {"554 5.7.1 <unknown[127.0.0.1]>: Client host rejected: Access denied", "503 5.7.0 Error: access denied for unknown[127.0.0.1]", "503 5.7.0 Error: access denied for unknown[127.0.0.1]", "503 5.7.0 Error: access denied for unknown[127.0.0.1]", "221 2.0.0 Bye"},
		"smtpd_helo_restrictions = reject":                  {"220 mx.ours.example ESMTP Postrider", "554 5.7.1 <c>: Helo command rejected: Access denied", "250 2.1.0 Ok", "250 2.1.5 Ok", "221 2.0.0 Bye"},
		"smtpd_sender_restrictions = reject":                {"220 mx.ours.example ESMTP Postrider", "250 SMTPUTF8", "554 5.7.1 <a@b.example>: Sender address rejected: Access denied", "503 5.5.1 Error: need MAIL command", "221 2.0.0 Bye"},
		"smtpd_helo_restrictions = defer_if_permit":         {"220 mx.ours.example ESMTP Postrider", "250 SMTPUTF8", "250 2.1.0 Ok", "450 4.7.0 <c>: Helo command rejected: defer_if_permit requested", "221 2.0.0 Bye"},
		"smtpd_client_restrictions = reject_unknown_client": {"450 4.7.25 Client host rejected: cannot find your hostname, [127.0.0.1]", "503 5.7.0 Error: access denied for unknown[127.0.0.1]", "503 5.7.0 Error: access denied for unknown[127.0.0.1]", "503 5.7.0 Error: access denied for unknown[127.0.0.1]", "221 2.0.0 Bye"},
	} {
		i := run(t, "smtpd_delay_reject = no\nsmtpd_peername_lookup = no\n"+list+"\n", &submittest.Cleanup{})
		got := i.talk("EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<alice@ours.example>", "QUIT")
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", list, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// What actions do to the message.
func TestActions(t *testing.T) {
	var cleanup submittest.Cleanup
	i := run(t, "smtpd_sender_restrictions = check_sender_access inline:{ {hold@b.example=HOLD} {discard@b.example=DISCARD} {to@b.example=REDIRECT other@ours.example} {bcc@b.example=BCC copy@ours.example} {add@b.example=PREPEND X-One: two} {filter@b.example=FILTER smtp:[127.0.0.1]:99} }\ncontent_filter = scan:\n", &cleanup)
	for _, c := range []struct{ from, want string }{
		{"hold", "true false   scan: 1"}, {"discard", "false true   scan: 1"}, {"to", "false false other@ours.example  scan: 1"}, {"bcc", "false false   scan: 2"},
		{"add", "false false  X-One: two scan: 1"}, {"filter", "false false   smtp:[127.0.0.1]:99 1"}, {"plain", "false false   scan: 1"},
	} {
		before := len(cleanup.Messages())
		got := i.talk("EHLO c", "MAIL FROM:<"+c.from+"@b.example>", "RCPT TO:<alice@ours.example>", "DATA", "Subject: x\r\n\r\nbody\r\n.")
		if got[len(got)-1] != "250 2.0.0 Ok: queued as ID" {
			t.Fatal(got)
		}
		m := cleanup.Messages()[before]
		first, _, _ := strings.Cut(string(m.Content), "\r\n")
		if strings.HasPrefix(first, "Received:") {
			first = ""
		}
		e := m.Envelope
		if got := fmt.Sprint(e.Hold, " ", e.Discard, " ", e.Redirect, " ", first, " ", e.Filter, " ", len(e.Recipients)); got != c.want {
			t.Errorf("%s: %s, want %s", c.from, got, c.want)
		}
	}
}

// policyServer answers as f says; "" closes the connection.
func policyServer(t *testing.T, f func(request map[string]string) string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					m := map[string]string{}
					for {
						line, err := r.ReadString('\n')
						if err != nil {
							return
						}
						if line == "\n" {
							break
						}
						name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
						m[name] = value
					}
					answer := f(m)
					if answer == "" {
						return
					}
					io.WriteString(c, "action="+answer+"\n\n")
				}
			}()
		}
	}()
	return "inet:" + l.Addr().String()
}

func TestPolicyService(t *testing.T) {
	var mu sync.Mutex
	var seen []map[string]string
	closes := 0
	addr := policyServer(t, func(m map[string]string) string {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, m)
		switch m["sender"] {
		case "no@b.example":
			return "REJECT go away"
		case "later@b.example":
			return "defer_if_permit Greylisted"
		case "gone@b.example":
			closes++
			return ""
		}
		return "DUNNO"
	})
	i := run(t, "smtpd_recipient_restrictions = reject_unauth_destination, check_policy_service "+addr+"\nsmtpd_policy_service_retry_delay = 0s\nsmtpd_policy_service_policy_context = here\n", &submittest.Cleanup{})
	for from, want := range map[string]string{
		"yes@b.example":   "250 2.1.5 Ok",
		"no@b.example":    "554 5.7.1 <alice@ours.example>: Recipient address rejected: go away",
		"later@b.example": "450 4.7.1 <alice@ours.example>: Recipient address rejected: Greylisted",
		"gone@b.example":  "451 4.3.5 <alice@ours.example>: Recipient address rejected: Server configuration problem",
	} {
		if got := i.rcpt("client.test", from, "alice@ours.example"); got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if closes < 2 {
		t.Errorf("tried %d times", closes)
	}
	for name, want := range map[string]string{"request": "smtpd_access_policy", "protocol_state": "RCPT", "protocol_name": "ESMTP", "client_address": "127.0.0.1",
		"helo_name": "client.test", "recipient": "alice@ours.example", "recipient_count": "0", "encryption_keysize": "0", "policy_context": "here", "server_address": "127.0.0.1"} {
		if got := seen[0][name]; got != want {
			t.Errorf("%s=%q, want %q", name, got, want)
		}
	}
	if seen[0]["instance"] == "" || seen[0]["client_port"] == "" || seen[0]["instance"] == seen[1]["instance"] {
		t.Errorf("%q", seen[0])
	}
	if !strings.Contains(i.logged(), "warning: problem talking to server "+addr) {
		t.Error(i.logged())
	}
}

// The attribute form, with an action of its own when nobody answers.
func TestPolicyServiceDefault(t *testing.T) {
	i := run(t, "smtpd_recipient_restrictions = reject_unauth_destination, check_policy_service { inet:127.0.0.1:1, try_limit=1, default_action=DUNNO }\n", &submittest.Cleanup{})
	if got := i.rcpt("c", "a@b.example", "alice@ours.example"); got != "250 2.1.5 Ok" {
		t.Error(got)
	}
}
