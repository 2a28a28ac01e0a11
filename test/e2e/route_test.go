package e2e

import (
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// transport_maps goes before relayhost; error, retry and discard do what they say.
func TestRoutes(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	far, near, relay := sink.New(t, &l), sink.New(t, &l), sink.New(t, &l)
	i := instance.Started(t, "relayhost = "+relay.NextHop(), "soft_bounce = no",
		route("far.test", far, "me@far.test", near, "error.test", "error:5.7.1 no mail today",
			"retry.test", "retry:4.3.2 come back tomorrow", "discard.test", "discard:silently"))
	i.WriteFile("conf/transport", "table.test relay:"+near.NextHop()+"\n.table.test smtp:"+far.NextHop()+"\n")
	i.Set(strings.Replace(route("far.test", far, "me@far.test", near, "error.test", "error:5.7.1 no mail today",
		"retry.test", "retry:4.3.2 come back tomorrow", "discard.test", "discard:silently"), "inline:", "texthash:"+i.Conf+"/transport inline:", 1))
	i.Must("master", "reload")
	i.AwaitLog(`master\[\d+\]: reload -- version`)

	for _, c := range []struct {
		to   string
		want *sink.Sink
	}{
		{"you@far.test", far}, {"me@far.test", near}, {"you@other.test", relay}, {"you@table.test", near}, {"you@sub.table.test", far},
	} {
		id := "route-" + c.to
		i.Await(c.to+" by the new table", func() bool { // the table comes with the reload
			send(t, i, &l, source.New(id, "a@source.test", 1000, c.to))
			i.Await(id, func() bool { return l.Open() == 0 })
			return len(c.want.Find(id)) > 0
		})
	}
	i.AwaitLog(`postfix/relay/smtp\[\d+\]: \w+: to=<you@table\.test>, |postfix/smtp\[\d+\]: \w+: to=<you@table\.test>, `)

	back := send(t, i, nil, source.New("error", "a@back.test", 1000, "x@error.test"))
	i.AwaitLog(back + `: to=<x@error\.test>, relay=none, delay=[\d.]+, delays=\S+, dsn=5\.7\.1, status=bounced \(no mail today\)$`)
	i.Await("the report", func() bool {
		for _, m := range relay.Mails() {
			if m.Sender == "" && m.Recipients[0] == "a@back.test" {
				return strings.Contains(string(m.Content), "no mail today")
			}
		}
		return false
	})
	later := send(t, i, nil, source.New("later", "a@source.test", 1000, "x@retry.test"))
	i.AwaitLog(later + `: to=<x@retry\.test>, relay=none, delay=[\d.]+, delays=\S+, dsn=4\.3\.2, status=deferred \(come back tomorrow\)$`)
	i.AwaitQueue(later, "deferred")
	if q := i.Entry(later); q.Recipients[0].Reason != "come back tomorrow" {
		t.Errorf("listed as %+v", q)
	}
	gone := send(t, i, nil, source.New("gone", "a@source.test", 1000, "x@discard.test"))
	i.AwaitLog(gone + `: to=<x@discard\.test>, relay=none, delay=[\d.]+, delays=\S+, dsn=2\.0\.0, status=sent \(silently\)$`)
	i.AwaitLog(gone + `: removed$`)
}
