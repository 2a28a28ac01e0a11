package parity

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/postfix"
	"postrider/test/sink"
)

var record = flag.Bool("record", false, "record Debian's Postfix anew (root)")

// divider stands between a transaction's script and what Postfix made of it.
const divider = "---- Postfix\n"

// settings are in main.cf of both. next is the port of the server that all mail goes to,
// down one that nobody listens on.
func settings(dir, next, down string) []string {
	return []string{
		"relayhost = [127.0.0.1]:" + next,
		"transport_maps = inline:{ {down.test=smtp:[127.0.0.1]:" + down + "} {error.test=error:5.1.1 no such place} {retry.test=retry:4.3.0 come back later} {discard.test=discard:silently} {nowhere.test=smtp:[nowhere.invalid]} }",
		"mydestination = local.test", "message_size_limit = 20000", "local_recipient_maps = inline:{ {nobody=x} {team=x} {postmaster=x} }",
		"alias_maps = inline:{ {team=one@sink.test,two@sink.test} {postmaster=nobody} }",
		"mail_spool_directory = " + dir + "/mail/",
		"smtp_generic_maps = inline:{ {inside@source.test=outside@sink.test} {@lan.test=@wan.test} {quote@source.test=a.b@sink.test} }",
		"home_mailbox =", "smtpd_hard_error_limit = 5", "smtpd_soft_error_limit = 20", "smtpd_recipient_limit = 3", "recipient_delimiter = +",
		"minimal_backoff_time = 1000s", "smtpd_delay_reject = yes", "smtputf8_enable = yes", "smtpd_discard_ehlo_keywords = etrn chunking",
		"notify_classes = resource, software",
		"virtual_alias_maps = inline:{ {both@local.test=nobody@local.test,two@sink.test} {one@local.test=nobody@local.test} {three@local.test=nobody@local.test,two@sink.test,no@sink.test} }",
		// Restrictions and checks of the content that only speak to the senders, names and texts of their own transactions.
		"smtpd_restriction_classes = strict",
		"strict = reject_non_fqdn_recipient, reject_multi_recipient_bounce, check_recipient_access inline:{ {shut@sink.test=REJECT strictly} }",
		"smtpd_client_restrictions = check_client_access inline:{ {192.0.2=REJECT} {192.0.2.1=OK} }",
		"smtpd_helo_restrictions = check_helo_access inline:{ {bad.helo.test=REJECT go away} {under.test=REJECT} {short=reject_non_fqdn_helo_hostname} {in_valid..test=reject_invalid_helo_hostname} {literal.test=WARN} }",
		"smtpd_sender_restrictions = check_sender_access inline:{ " + access("reject=REJECT", "text=REJECT 5.7.9 not you", "defer=DEFER", "defertext=DEFER some day", "code=550 no thanks",
			"code4=450 4.7.7 later", "close=421 4.7.0 go away", "hold=HOLD", "holdtext=HOLD for the operator", "discard=DISCARD", "discardtext=DISCARD spam", "redirect=REDIRECT nobody@local.test",
			"warn=WARN look at this", "warnonly=warn_if_reject, reject", "info=INFO seen", "prepend=PREPEND X-Access: yes", "bcc=BCC archive@sink.test", "permit=OK", "ifpermit=DEFER_IF_PERMIT",
			"ifpermittext=DEFER_IF_PERMIT 4.7.8 perhaps", "ifreject=DEFER_IF_REJECT, reject", "strict=strict", "number=12345", "bare=WARN", "bareinfo=INFO", "filter=FILTER smtp:[127.0.0.1]:"+next,
			"dunno=DUNNO", "nonsense=reject_nothing_at_all", "lists=warn_if_reject, reject, defer") + " {access.net=REJECT the domain} {local-part@=REJECT the name} }",
		"smtpd_recipient_restrictions = check_recipient_access inline:{ {plus@sink.test=REJECT no extensions} {unlisted@sink.test=OK} {rejected@local.test=550 5.1.1 gone} }",
		"smtpd_data_restrictions = reject_multi_recipient_bounce, check_sender_access inline:{ {data@access.test=REJECT at DATA} }",
		"smtpd_end_of_data_restrictions = check_sender_access inline:{ {end@access.test=REJECT at the end} {endhold@access.test=HOLD} }",
		"header_checks = regexp:{ {/^Subject: check reject$$/ REJECT} {/^Subject: check rejecttext/ REJECT 5.7.9 no such things} {/^Subject: check later/ REJECT 4.7.9 later} {/^Subject: check warn/ WARN hm} {/^Subject: check bare/ WARN} {/^Subject: check info/ INFO} {/^Subject: check hold/ HOLD} {/^Subject: check discard/ DISCARD} {/^Subject: check ignore/ IGNORE} {/^Subject: check replace/ REPLACE Subject: replaced} {/^Subject: check prepend/ PREPEND X-Check: yes} {/^Subject: check redirect/ REDIRECT nobody@local.test} {/^Subject: check bcc/ BCC archive@sink.test} {/^Subject: check strip/ STRIP} {/^Subject: check folded.*tail/ WARN} {/^Content-Disposition:.*\\.exe/ REJECT no programs} }",
		"body_checks = regexp:{ {/^check reject/ REJECT} {/^check warn/ WARN in the body} {/^check ignore/ IGNORE} {/^check replace/ REPLACE something else} }",
	}
}

// access makes entries of an inline table for senders in access.test.
func access(entries ...string) string {
	var b strings.Builder
	for _, e := range entries {
		name, action, _ := strings.Cut(e, "=")
		fmt.Fprintf(&b, "{%s@access.test=%s} ", name, action)
	}
	return b.String()
}

type ours struct{ *instance.Instance }

func (o ours) smtp() string { return o.Addr }
func (o ours) log() string  { return o.Dir + "/maillog" }
func (o ours) command(name string, args ...string) *exec.Cmd {
	program := name
	if name == "mailq" || name == "newaliases" {
		program = "sendmail"
	}
	cmd := exec.Command(filepath.Join(o.Bin, program), args...)
	cmd.Args[0] = name
	cmd.Env = []string{"MAIL_CONFIG=" + o.Conf, "PATH=" + o.Bin + ":/usr/bin:/bin", "TZ=UTC"}
	cmd.Dir = "/"
	return cmd
}

type theirs struct{ *postfix.Postfix }

func (o theirs) smtp() string { return o.Addr }
func (o theirs) log() string  { return o.Log() }
func (o theirs) command(name string, args ...string) *exec.Cmd {
	return o.Command(name, args...)
}

func TestTransactions(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: postsuper and the paths of the recordings are root's")
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transactions", err)
	}
	next := far(t)
	_, port, _ := net.SplitHostPort(next.Addr)
	down := closedPort(t)
	var sys mailSystem
	if *record {
		sys = theirs{debian(t, func(dir string) []string { return settings(dir, port, down) })}
	} else {
		i := instance.AsRoot(t, instance.Programs(t))
		i.Set(settings(i.Dir, port, down)...)
		i.Set("local_header_rewrite_clients = permit_mynetworks", "alias_database =") // the instance has an address of its own
		if err := os.Mkdir(i.Dir+"/mail", 0o777); err != nil {
			t.Fatal(err)
		}
		os.Chmod(i.Dir+"/mail", 0o777|os.ModeSticky)
		i.Start()
		sys = ours{i}
	}
	(&player{t: t, sys: sys}).settle() // the start
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(b), divider)
			got := play(t, sys, script)
			if *record {
				if err := os.WriteFile(file, []byte(script+divider+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want = applied(want); got != want {
				t.Errorf("not as Postfix:\n%s", difference(want, got))
			}
		})
	}
}

// debian starts Debian's Postfix, to be recorded.
func debian(t *testing.T, settings func(dir string) []string) *postfix.Postfix {
	if why := postfix.Missing(); why != "" {
		t.Fatal(why)
	}
	dir, err := os.MkdirTemp("", "postrider-parity-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	os.Mkdir(dir+"/mail", 0o777)
	os.Chmod(dir+"/mail", 0o777|os.ModeSticky)
	return postfix.Start(t, dir, settings(dir)...)
}

// far is the next server: what it answers depends on the name it is asked for.
func far(t *testing.T) *sink.Sink {
	s := sink.New(t, nil)
	name := func(address string) string { local, _, _ := strings.Cut(address, "@"); return local }
	s.Do(sink.Behaviour{
		From: func(sender string) string {
			if name(sender) == "refused" {
				return "553 5.7.1 <" + sender + ">: sender refused"
			}
			return ""
		},
		Rcpt: func(_, r string) string {
			switch name(r) {
			case "no", "no2":
				return "550 5.1.1 <" + r + ">: no such user"
			case "later":
				return "450 4.2.0 <" + r + ">: greylisted"
			case "plain":
				return "550 without a code"
			case "lost":
				return sink.Drop
			}
			return ""
		},
		Dot: func(m *sink.Mail) string {
			switch name(m.Recipients[0]) {
			case "spam":
				return "554 5.7.1 looks like spam"
			case "full":
				return "452 4.2.2 mailbox full"
			case "show": // what has come
				head, _, _ := strings.Cut(string(m.Content), "\r\n\r\n")
				seen := "<" + m.Sender + ">"
				for _, l := range strings.Split(strings.ReplaceAll(head, "\r\n ", " "), "\r\n") {
					if name, _, _ := strings.Cut(l, ":"); slices.Contains([]string{"From", "To", "Cc", "Reply-To"}, name) {
						seen += "; " + l
					}
				}
				return "250 2.0.0 " + seen
			}
			return ""
		},
	})
	return s
}

func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// applied applies the rules to a recording: those that were added after it was made.
func applied(text string) string {
	for _, r := range rules {
		text = r.pattern.ReplaceAllString(text, r.by)
	}
	return text
}

// difference shows lines that only one side has.
func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	count := map[string]int{}
	for _, l := range a {
		count[l]++
	}
	var out strings.Builder
	for _, l := range b {
		if count[l]--; count[l] < 0 {
			fmt.Fprintf(&out, "+ %s\n", l)
		}
	}
	for _, l := range a {
		if count[l] > 0 {
			count[l]--
			fmt.Fprintf(&out, "- %s\n", l)
		}
	}
	if out.Len() == 0 {
		return "the same lines in another order:\n" + got
	}
	return out.String()
}
