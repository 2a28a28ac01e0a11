package address

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"postrider/lib/config"
	"postrider/lib/mail"
	"postrider/lib/table"
	"postrider/lib/table/tabletest"
)

const mapping = `
myorigin = ours.example
mydestination = ours.example, localhost
recipient_delimiter = +
virtual_alias_expansion_limit = 5
virtual_alias_maps = hash:/virtual
virtual_alias_domains = virtual.example
canonical_maps = inline:{ {joe = Joe.User@ours.example}, {@old.example = @new.example}, {a@loop.example = b@loop.example}, {b@loop.example = a@loop.example} }
sender_canonical_maps = inline:{ {www-data = web} }
masquerade_domains = !keep.masq.example, masq.example
masquerade_exceptions = root
always_bcc = archive
sender_bcc_maps = inline:{@new.example=copies@bcc.example}
recipient_bcc_maps = regexp:/bcc
local_recipient_maps = inline:{alice=1}
`

var mappingFiles = tabletest.Files{"/bcc": "/^(.*)@spied\\.example$/ watch+$1@bcc.example\n",
	"/virtual": "info@virtual.example alice, bob@far.example\n" +
		"list@virtual.example info@virtual.example, \"odd, name\"@far.example\n" +
		"self@virtual.example self@virtual.example, carol@far.example\n" +
		"ann: ignored\n" + "help alice\n" + "@catch.example all@virtual2.example\n" + "@moved.example @there.example\n" +
		"a@ring.example b@ring.example\nb@ring.example a@ring.example\n" +
		"grow@virtual.example grow@virtual.example, grow2@virtual.example\n" + "wide@virtual.example a@w, b@w, c@w, d@w, e@w, f@w\n"}

func mappingConfig(t *testing.T, main string) *config.Config {
	t.Helper()
	cfg, ps := config.Source{Dir: "/c", Host: host, ReadFile: func(path string) ([]byte, error) {
		if path == "/c/main.cf" {
			return []byte(main), nil
		}
		return nil, nil
	}}.Load()
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestMapper(t *testing.T) {
	m, err := NewMapper(mappingConfig(t, mapping), mappingFiles.Open)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	text := func(list []mail.Address, err error) string {
		if err != nil {
			return err.Error()
		}
		return strings.Trim(fmt.Sprintf("%q", list), "[]")
	}
	for in, want := range map[string]string{
		"info@virtual.example":    `"alice@ours.example" "bob@far.example"`,
		"info+x@virtual.example":  `"alice+x@ours.example" "bob+x@far.example"`,
		"list@virtual.example":    `"alice@ours.example" "odd, name@far.example" "bob@far.example"`,
		"self@virtual.example":    `"self@virtual.example" "carol@far.example"`,
		"help@ours.example":       `"alice@ours.example"`,
		"help+a@localhost":        `"alice+a@ours.example"`,
		"help@elsewhere.example":  `"help@elsewhere.example"`,
		"x@catch.example":         `"all@virtual2.example"`,
		"x+y@catch.example":       `"all@virtual2.example"`,
		"Me+Tag@moved.example":    `"Me+Tag@there.example"`,
		"unknown@virtual.example": `"unknown@virtual.example"`,
		"a@ring.example":          `unreasonable virtual_alias_maps map nesting for a@ring.example`,
		"grow@virtual.example":    `"grow@virtual.example" "grow2@virtual.example"`,
		"wide@virtual.example":    `unreasonable virtual_alias_maps map expansion size for wide@virtual.example`,
	} {
		if got := text(m.Virtual(ctx, mail.Address(in))); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
	for _, x := range []struct {
		in    string
		where Where
		want  string
	}{
		{"joe@ours.example", EnvelopeSender, "Joe.User@ours.example"},
		{"joe+x@ours.example", EnvelopeRecipient, "Joe.User+x@ours.example"},
		{"www-data@ours.example", EnvelopeSender, "web@ours.example"},
		{"www-data@ours.example", EnvelopeRecipient, "www-data@ours.example"},
		{"x@old.example", HeaderRecipient, "x@new.example"},
		{"", EnvelopeSender, ""},
		{"u@a.b.masq.example", EnvelopeSender, "u@masq.example"},
		{"u@a.b.masq.example", EnvelopeRecipient, "u@a.b.masq.example"},
		{"u@a.keep.masq.example", EnvelopeSender, "u@a.keep.masq.example"},
		{"root@a.masq.example", HeaderSender, "root@a.masq.example"},
		{"a@loop.example", EnvelopeSender, "unreasonable canonical_maps nesting for a@loop.example"},
	} {
		a, err := m.Canonical(ctx, mail.Address(x.in), x.where)
		got := string(a)
		if err != nil {
			got = err.Error()
			if !errors.Is(err, ErrExpansion) {
				t.Errorf("%v is not of the kind", err)
			}
		}
		if got != x.want {
			t.Errorf("%s as %d: got %s, want %s", x.in, x.where, got, x.want)
		}
	}
	if got := text(m.Copies(ctx, "s@new.example", []mail.Recipient{{Address: "v@spied.example"}, {Address: "w@x.example"}})); got !=
		`"archive@ours.example" "copies@bcc.example" "watch+v@bcc.example"` {
		t.Errorf("copies: %s", got)
	}

	// Nothing asked for is no Mapper; a table that is not there makes mail wait.
	if m, err := NewMapper(mappingConfig(t, "virtual_alias_domains = x\n"), nil); m != nil || err != nil {
		t.Errorf("got %v %v", m, err)
	}
	m, err = NewMapper(mappingConfig(t, "virtual_alias_maps = hash:/none\ncanonical_maps = fail:x\nalways_bcc = z"), mappingFiles.Open)
	if err == nil || !strings.Contains(err.Error(), `run "postmap /none"`) {
		t.Errorf("got %v", err)
	}
	if _, err := m.Virtual(ctx, "a@b"); !errors.Is(err, table.ErrTemp) {
		t.Errorf("virtual: %v", err)
	}
	if _, err := m.Canonical(ctx, "a@b", EnvelopeSender); !errors.Is(err, table.ErrTemp) {
		t.Errorf("canonical: %v", err)
	}
}

func TestVirtualDomains(t *testing.T) {
	r, err := New(mappingConfig(t, mapping+"relocated_maps = inline:{ {gone@ours.example = here@far.example} {far = x} }\ntransport_maps = static:smtp:[x]\n"), mappingFiles.Open)
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"info@virtual.example": "virtual alias true true  error 5.1.1 User unknown in virtual alias table",
		"Info@VIRTUAL.example": "virtual alias true true  error 5.1.1 User unknown in virtual alias table",
		"none@virtual.example": "virtual alias true false User unknown in virtual alias table error 5.1.1 User unknown in virtual alias table",
		"help@ours.example":    "local true true  smtp [x]", // rewritten, so it is there
		"none@ours.example":    "local true false User unknown in local recipient table smtp [x]",
		"x@catch.example":      "default false true  smtp [x]",
		"gone@ours.example":    "local true false User unknown in local recipient table error 5.1.6 User has moved to here@far.example",
	} {
		rt, err := r.Resolve(context.Background(), "", mail.Address(in))
		if err != nil {
			t.Fatal(err)
		}
		ok, reason, err := r.Listed(context.Background(), rt)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(rt.Class, " ", rt.Authorised(), " ", ok, " ", reason, " ", rt.Transport, " ", rt.NextHop); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// A domain of virtual mailboxes goes to virtual_transport, and has the recipients that its
// table has.
func TestVirtualMailboxes(t *testing.T) {
	r, err := New(mappingConfig(t, mapping+"virtual_mailbox_domains = boxes.example\nvirtual_mailbox_maps = inline:{ {a@boxes.example = x} }\nvirtual_transport = lmtp:unix:private/dovecot-lmtp\n"), mappingFiles.Open)
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"a@boxes.example":     "virtual mailbox true true  lmtp unix:private/dovecot-lmtp",
		"A+ext@Boxes.example": "virtual mailbox true true  lmtp unix:private/dovecot-lmtp",
		"b@boxes.example":     "virtual mailbox true false User unknown in virtual mailbox table lmtp unix:private/dovecot-lmtp",
	} {
		rt, err := r.Resolve(context.Background(), "", mail.Address(in))
		if err != nil {
			t.Fatal(err)
		}
		ok, reason, err := r.Listed(context.Background(), rt)
		if got := fmt.Sprint(rt.Class, " ", rt.Authorised(), " ", ok, " ", reason, " ", rt.Transport, " ", rt.NextHop); got != want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", in, got, err, want)
		}
	}
}
