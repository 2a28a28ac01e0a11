package e2e

import (
	"net/textproto"
	"slices"
	"testing"

	"postrider/test/instance"
	"postrider/test/sink"
)

// TestVERP: each recipient's copy, and the report about him, has a sender of his own, by
// XVERP from who may ask for it and by sendmail -XV; with disable_verp_bounces the report
// goes to the sender as he is.
func TestVERP(t *testing.T) {
	t.Parallel()
	far := sink.New(t, nil)
	far.Do(sink.Behaviour{Rcpt: func(_, r string) string {
		if r == "no@far.test" {
			return "550 5.1.1 no such user"
		}
		return ""
	}})
	i := instance.New(t, "relayhost = "+far.NextHop(), "smtpd_authorized_verp_clients = $mynetworks")
	i.Start()
	conn, err := textproto.Dial("tcp", i.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	say := func(line, want string) {
		t.Helper()
		if line != "" {
			conn.PrintfLine("%s", line)
		}
		code, text, err := conn.ReadResponse(0)
		if got := textproto.TrimString(text); err != nil && code == 0 || want != "" && (code/100 != int(want[0]-'0') || len(want) > 3 && got != want[4:]) {
			t.Errorf("%s: %d %s, %v, want %s", line, code, text, err, want)
		}
	}
	say("", "220")
	say("EHLO c", "250")
	// As Debian's Postfix 3.7 answers.
	say("MAIL FROM:<list@source.test> XVERP=ab", "501 5.5.4 Error: XVERP needs two characters from -=+")
	say("MAIL FROM:<list@source.test> XVERP=", "501 5.5.4 Error: XVERP needs two characters from -=+")
	say("MAIL FROM:<> XVERP", "503 5.5.4 Error: XVERP requires non-null sender")
	say("MAIL FROM:<list@source.test> XVERP=-=", "250")
	for _, r := range []string{"one@far.test", "two@far.test", "no@far.test"} {
		say("RCPT TO:<"+r+">", "250")
	}
	say("DATA", "354")
	conn.PrintfLine("Subject: by SMTP\r\n\r\nbody\r\n.")
	say("", "250")
	say("QUIT", "221")
	heard := func(want ...string) {
		t.Helper()
		var got []string
		i.Await("mails", func() bool {
			got = nil
			for _, m := range far.Mails() {
				for _, r := range m.Recipients {
					got = append(got, m.Sender+" "+r)
				}
			}
			return len(got) >= len(want)
		})
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	all := []string{"list-one=far.test@source.test one@far.test", "list-two=far.test@source.test two@far.test", " list-no=far.test@source.test"}
	heard(slices.Clone(all)...)

	send := func() {
		t.Helper()
		if r := i.RunWith("Subject: x\n\nbody\n", "sendmail", "-XV", "-f", "list@source.test", "three@far.test", "no@far.test"); r.Code != 0 {
			t.Fatal(r.Stderr)
		}
	}
	send()
	all = append(all, "list+three=far.test@source.test three@far.test", " list+no=far.test@source.test")
	heard(slices.Clone(all)...)
	i.Set("disable_verp_bounces = yes")
	i.Stop() // a reload reaches qmgr a moment after the command
	i.Start()
	send()
	heard(append(all, "list+three=far.test@source.test three@far.test", " list@source.test")...)
}
