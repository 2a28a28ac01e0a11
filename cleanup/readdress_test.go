package cleanup

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/mail"
	"postrider/lib/submit"
)

// mapping gives the rig the tables of settings "name=value".
func (r *rig) mapping(settings ...string) {
	r.t.Helper()
	snap := config.Snapshot{Dir: "/c", Settings: []config.Setting{{Name: "myhostname", Value: "mx.example"}, {Name: "mydestination", Value: "ours.example"},
		{Name: "alias_maps", Value: ""}, {Name: "local_recipient_maps", Value: ""}}}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		snap.Settings = append(snap.Settings, config.Setting{Name: name, Value: value})
	}
	cfg, err := config.FromSnapshot(snap)
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := address.NewMapper(cfg, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	set := *r.s.settings.Load()
	set.mapper = m
	r.s.settings.Store(&set)
}

func (r *rig) submit(c *submit.Client, env *mail.Envelope) error {
	m := c.Begin(env, false)
	if _, err := m.Write([]byte("Subject: x\r\n\r\nbody\r\n")); err != nil {
		r.t.Fatal(err)
	}
	return m.Close()
}

// Addresses change before the message is durable; what the sender gave stays on record,
// nobody gets it twice, and copies are for mail that comes in.
func TestReaddress(t *testing.T) {
	r := newRig(t, "", nil)
	r.mapping("virtual_alias_maps=inline:{ {team@v.example = a@far.example, b@far.example, archive@ours.example} {fail@v.example=x@fail.example} }",
		"canonical_maps=inline:{ {old@far.example = new@far.example} }", "always_bcc=archive@ours.example")
	c := r.client("smtpd.0")
	env := &mail.Envelope{ID: "4Z6Tpg1TSdz1", Sender: "old@far.example", Origin: mail.FromSMTP, Recipients: []mail.Recipient{
		{Address: "team@v.example", ORCPT: "rfc822;Team@v.example", Notify: mail.NotifyFailure},
		{Address: "a@far.example"}, {Address: "old@far.example", Original: "really"}, {Address: "b@far.example"}}}
	if err := r.submit(c, env); err != nil {
		t.Fatal(err)
	}
	if err := r.submit(r.client("bounce"), &mail.Envelope{ID: "4Z6Tpg1TSdz2", Origin: mail.FromBounce, Recipients: []mail.Recipient{{Address: "team@v.example"}}}); err != nil {
		t.Fatal(err)
	}
	all := journaled(t, r.dir)
	show := func(e *mail.Envelope) string {
		var b strings.Builder
		fmt.Fprintf(&b, "<%s>", e.Sender)
		for _, x := range e.Recipients {
			fmt.Fprintf(&b, " %s(%s %s %d)", x.Address, x.Original, x.ORCPT, x.Notify)
		}
		return b.String()
	}
	if got, want := show(all[0].env), "<new@far.example> a@far.example(team@v.example rfc822;Team@v.example 4) b@far.example(team@v.example rfc822;Team@v.example 4)"+
		" archive@ours.example(team@v.example rfc822;Team@v.example 4) a@far.example(  0) new@far.example(really  0) b@far.example(  0) archive@ours.example(  1)"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := show(all[1].env), "<> a@far.example(team@v.example  0) b@far.example(team@v.example  0) archive@ours.example(team@v.example  0)"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A table that does not answer, or leads nowhere, costs no mail: 451, and nothing is kept.
func TestReaddressFails(t *testing.T) {
	r := newRig(t, "", nil)
	c := r.client("smtpd.0")
	for i, x := range []struct{ setting, want string }{
		{"virtual_alias_maps=fail:now", "451 4.3.0 Error: queue file write error"},
		{"canonical_maps=fail:now", "451 4.3.0 Error: queue file write error"},
		{"sender_bcc_maps=fail:now", "451 4.3.0 Error: queue file write error"},
		{"virtual_alias_maps=inline:{ {a@v.example=b@v.example} {b@v.example=a@v.example} }", "451 4.6.0 Alias expansion error"},
	} {
		r.mapping(x.setting)
		err := r.submit(c, &mail.Envelope{ID: mail.QueueID(fmt.Sprintf("4Z6Tpg1TSdz%d", i+1)), Sender: "s@x.example", Origin: mail.FromSMTP,
			Recipients: []mail.Recipient{{Address: "a@v.example"}}})
		var refused *submit.Refused
		if !errors.As(err, &refused) || fmt.Sprint(refused.Code, " ", refused.DSN, " ", refused.Text) != x.want {
			t.Errorf("%s: got %v, want %s", x.setting, err, x.want)
		}
	}
	if got := journaled(t, r.dir); got != nil {
		t.Errorf("kept: %v", got)
	}
	if s := r.lines(); !strings.Contains(s, "-- message not accepted, try again later") {
		t.Errorf("log: %s", s)
	}
}
