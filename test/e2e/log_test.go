package e2e

import (
	"regexp"
	"testing"

	"postrider/test/instance"
	"postrider/test/sink"
	"postrider/test/source"
)

// The log has Postfix's lines, so that pflogsumm and its like can read it.
func TestLog(t *testing.T) {
	t.Parallel()
	far := sink.New(t, nil)
	far.Do(sink.Behaviour{Rcpt: func(_, r string) string {
		switch r {
		case "no@sink.test":
			return "550 5.1.1 <no@sink.test>: no such user"
		case "later@sink.test":
			return "450 4.2.0 <later@sink.test>: greylisted"
		}
		return ""
	}})
	i := instance.Started(t, route("sink.test", far))
	id := send(t, i, nil, source.New("log-1", "a@source.test", 1000, "yes@sink.test", "no@sink.test", "later@sink.test", "b@"+instance.Domain))
	const (
		delay  = `delay=[\d.]+, delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+, `
		prefix = `^[A-Z][a-z]{2} [ 1-3]\d [0-2]\d:[0-5]\d:[0-5]\d \S+ postfix/`
	)
	relay := regexp.QuoteMeta(far.Relay())
	host := regexp.QuoteMeta("host 127.0.0.1[127.0.0.1] said: ")
	for _, want := range []string{
		`master\[\d+\]: daemon started -- version \S+, configuration ` + regexp.QuoteMeta(i.Conf),
		`smtpd\[\d+\]: connect from unknown\[127\.0\.0\.1\]`,
		`smtpd\[\d+\]: ` + id + `: client=unknown\[127\.0\.0\.1\]`,
		`cleanup\[\d+\]: ` + id + `: message-id=<log-1@source\.test>`,
		`qmgr\[\d+\]: ` + id + `: from=<a@source\.test>, size=\d+, nrcpt=4 \(queue active\)`,
		`smtp\[\d+\]: ` + id + `: to=<yes@sink\.test>, relay=` + relay + `, ` + delay + `dsn=2\.0\.0, status=sent \(250 2\.0\.0 Ok: queued as SINK\)`,
		`smtp\[\d+\]: ` + id + `: to=<no@sink\.test>, relay=` + relay + `, ` + delay + `dsn=5\.1\.1, status=bounced \(` + host + `550 5\.1\.1 <no@sink\.test>: no such user \(in reply to RCPT TO command\)\)`,
		`smtp\[\d+\]: ` + id + `: to=<later@sink\.test>, relay=` + relay + `, ` + delay + `dsn=4\.2\.0, status=deferred \(` + host + `450 4\.2\.0 <later@sink\.test>: greylisted \(in reply to RCPT TO command\)\)`,
		`local\[\d+\]: ` + id + `: to=<b@local\.test>, relay=local, ` + delay + `dsn=2\.0\.0, status=sent \(delivered to maildir\)`,
		`bounce\[\d+\]: ` + id + `: sender non-delivery notification: \w+`,
		`smtpd\[\d+\]: disconnect from unknown\[127\.0\.0\.1\] ehlo=1 mail=1 rcpt=4 data=1 quit=1 commands=8`,
	} {
		i.AwaitLog(prefix + want + `$`)
	}
	// Every line has the prefix.
	if all, good := i.Grep(``), i.Grep(prefix+`[a-z]+\[\d+\]: `); len(all) != len(good) {
		t.Errorf("%d lines, %d of them in Postfix's form:\n%s", len(all), len(good), i.Log())
	}
}
