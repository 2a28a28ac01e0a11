package mail

import "testing"

func TestVERP(t *testing.T) {
	for _, c := range []struct{ sender, to, delimiters, want string }{
		{"list@ours.test", "user@theirs.test", "+=", "list+user=theirs.test@ours.test"},
		{"list@ours.test", "a@b@theirs.test", "-+", "list-a@b+theirs.test@ours.test"},
		{"list", "user", "+=", "list+user"},
	} {
		if got := VERP(Address(c.sender), Address(c.to), c.delimiters); string(got) != c.want {
			t.Errorf("%s %s: %s, want %s", c.sender, c.to, got, c.want)
		}
	}
	for s, want := range map[string]bool{"+=": true, "=-": true, "": false, "+": false, "+=+": false, "a=": false, "+\n": false} {
		if ValidVERP(s, "-=+") != want {
			t.Errorf("%q", s)
		}
	}
	e := Envelope{Sender: "l@o", VERP: "+=", Recipients: []Recipient{{Address: "a@b", Original: "was@c"}, {Address: "d@e"}}}
	if a, b := e.VERPSender(0), e.VERPSender(1); a != "l+was=c@o" || b != "l+d=e@o" {
		t.Error(a, b)
	}
	if e.Sender = ""; e.VERPSender(0) != "" {
		t.Error("the null sender has no variants")
	}
}
