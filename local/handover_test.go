package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postrider/lib/mail"
	"postrider/lib/proto"
)

// led says where a request is led on: "transport hop address", or what became of it.
func (r *rig) led(q string, sender mail.Address) string {
	r.t.Helper()
	req := request(letter, q)
	req.Sender = sender
	rr := r.do(req)
	if rr.Pass == (proto.Pass{}) {
		return rr.Status.Class.String() + " " + rr.Status.Text
	}
	if rr.Status != (mail.Status{}) || rr.Replaced || strings.Contains(r.lines(), "to=<"+q+">") || !strings.Contains(r.lines(), ": passing <"+rr.Pass.Address.External()+"> to transport="+rr.Pass.Transport) {
		r.t.Errorf("%s: led on with %+v, and logged:\n%s", q, rr, r.lines())
	}
	return fmt.Sprintf("%s %s %s", rr.Pass.Transport, rr.Pass.NextHop, rr.Pass.Address)
}

// TestHandOver: whom a transport of mailbox_transport or fallback_transport gets, in
// Postfix's order: aliases, .forward, the mailbox's transport by user or for all, and for
// names that are nobody's fallback_transport before luser_relay.
func TestHandOver(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a .forward belongs to another user")
	}
	base := t.TempDir()
	os.Chmod(filepath.Dir(base), 0o755)
	home := func(name string, uid int, forward string) string {
		dir := filepath.Join(base, name)
		os.Mkdir(dir, 0o755)
		os.Chown(dir, uid, uid)
		if forward != "" {
			os.WriteFile(dir+"/.forward", []byte(forward), 0o644)
			os.Chown(dir+"/.forward", uid, uid)
		}
		return fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\n", name, uid, uid, dir)
	}
	os.Chmod(base, 0o755)
	passwd := home("ann", 64101, "") + home("bob", 64102, "\\bob") + home("eve", 64103, "x@far.test\n") + home("zoe", 64104, "ann\n")
	f := files{"/etc/passwd": passwd, "/etc/aliases": "team: ann\nowner-list: ann\nlist: ann\nmany: ann, bob\nfar: x@far.test\n"}
	for _, c := range []struct{ settings, to, want string }{
		{"mailbox_transport=lmtp:unix:private/dove", "ann@example.com", "lmtp unix:private/dove ann@example.com"},
		{"mailbox_transport=lmtp:unix:private/dove", "Ann+ext@example.com", "lmtp unix:private/dove Ann+ext@example.com"},
		{"mailbox_transport=lmtp", "ann@example.com", "lmtp  ann@example.com"},
		{"mailbox_transport=:hop", "ann@example.com", "deferred no transport in"},
		{"mailbox_transport=lmtp:s", "team@example.com", "lmtp s ann@example.com"},        // past an alias
		{"mailbox_transport=lmtp:s", "bob@example.com", "lmtp s bob@example.com"},         // past a .forward
		{"mailbox_transport=lmtp:s", "zoe@example.com", "lmtp s ann@example.com"},         // to another
		{"mailbox_transport=lmtp:s", "eve@example.com", "sent forwarded as"},              // elsewhere
		{"mailbox_transport=lmtp:s", "far@example.com", "sent forwarded as"},              //
		{"mailbox_transport=lmtp:s", "many@example.com", "sent forwarded as"},             // each by himself then
		{"mailbox_transport=lmtp:s", "list@example.com", "sent forwarded as"},             // in its owner's name
		{"mailbox_transport=lmtp:s", "virtual@example.com", "lmtp s virtual@example.com"}, // whoever he is
		{"mailbox_transport=lmtp:s", "a/b@example.com", "lmtp s a/b@example.com"},
		{"mailbox_transport=lmtp:s mailbox_transport_maps=inline:{ann=smtp:[h]}", "ann@example.com", "smtp [h] ann@example.com"},
		{"mailbox_transport=lmtp:s mailbox_transport_maps=inline:{ann=smtp:[h]}", "ann+x@example.com", "smtp [h] ann+x@example.com"},
		{"mailbox_transport=lmtp:s mailbox_transport_maps=inline:{ann=smtp:[h]}", "bob@example.com", "lmtp s bob@example.com"},
		{"mailbox_transport_maps=fail:broken", "ann@example.com", "deferred mailbox_transport_maps: "},
		{"fallback_transport=smtp:[old]", "ann@example.com", "sent delivered to "},
		{"fallback_transport=smtp:[old]", "nobody-here@example.com", "smtp [old] nobody-here@example.com"},
		{"fallback_transport=smtp:[old] fallback_transport_maps=inline:{gone=error:gone_since_May}", "gone@example.com", "error gone_since_May gone@example.com"},
		{"fallback_transport=smtp:[old] luser_relay=ann", "nobody-here@example.com", "smtp [old] nobody-here@example.com"},
		{"fallback_transport_maps=inline:{gone=smtp:[old]} luser_relay=ann", "nobody-here@example.com", "sent forwarded as"},
		{"fallback_transport_maps=fail:broken", "nobody-here@example.com", "deferred fallback_transport_maps: "},
		{"fallback_transport_maps=inline:{gone=smtp:[old]}", "nobody-here@example.com", `bounced unknown user: "nobody-here"`},
	} {
		r := newRig(t, true, f, append(strings.Fields(c.settings), "home_mailbox=Maildir/", "alias_maps=hash:/etc/aliases")...)
		if got := r.led(c.to, "alice@example.org"); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s, %s: %q, want %q", c.settings, c.to, got, c.want)
		}
	}

	// What local sent on to many is led there from its own message, and not expanded again.
	r := newRig(t, true, f, "mailbox_transport=lmtp:s", "alias_maps=hash:/etc/aliases")
	q := request(letter, "eve@example.com")
	q.Origin, q.Recipients[0].Member = mail.FromLocal, mail.MemberMailbox
	if rr := r.do(q); rr.Pass.NextHop != "s" {
		t.Errorf("%+v", rr)
	}

	// sendmail -bv asks the transport, and nobody is forwarded to.
	r = newRig(t, true, f, "fallback_transport=lmtp:s", "alias_maps=hash:/etc/aliases", "luser_relay=ann")
	q = request(letter, "nobody-here@example.com")
	q.Verify = true
	if rr := r.do(q); rr.Pass.NextHop != "s" {
		t.Errorf("%+v", rr)
	}
}
