package cleanup

import (
	"strings"
	"testing"

	"postrider/lib/mail"
)

// TestCapture: what a policy names of the header comes with the envelope, and what wrote the
// message; without a policy nothing does.
func TestCapture(t *testing.T) {
	r := newRig(t, "", nil)
	c := r.client("smtpd.0")
	put := func(i int, header string) *mail.Envelope {
		t.Helper()
		if err := send(c, envelope(i, "a@example.org", "b@example.org"), false, header+"\r\n\r\nbody\r\n"); err != nil {
			t.Fatal(err)
		}
		got := journaled(t, r.dir)
		return got[len(got)-1].env
	}
	if env := put(0, "X-Tenant: acme\r\nAuto-Submitted: auto-replied"); env.Headers != nil || env.Kind != mail.User {
		t.Errorf("without a policy: %+v", env)
	}
	set := *r.s.settings.Load()
	set.capture = &capture{names: []string{"x-tenant", "x-long"}}
	r.s.settings.Store(&set)
	env := put(1, "x-TENANT:  acme\r\n and\tsons \r\nX-Tenant: second\r\nX-Other: 1\r\nX-Long: "+strings.Repeat("y", 2000))
	if len(env.Headers) != 2 || env.Headers[0] != (mail.Header{Name: "x-tenant", Value: "acme and sons"}) || len(env.Headers[1].Value) != valueMax {
		t.Errorf("captured %+v", env.Headers)
	}
	for i, c := range []struct {
		header string
		want   mail.Kind
	}{
		{"Subject: x", mail.User},
		{"Auto-Submitted: no", mail.User},
		{"Auto-Submitted: auto-generated; owner=x", mail.Auto},
		{"Precedence: Bulk", mail.Auto},
		{"Precedence: first-class", mail.User},
		{"Content-Type: multipart/report; report-type=delivery-status", mail.DSN},
		{"Auto-Submitted: auto-replied\r\nContent-Type: multipart/report;\r\n report-type=feedback-report", mail.Report},
		{"Content-Type: multipart/report; report-type=feedback-report\r\nAuto-Submitted: auto-generated", mail.Report},
		{"Content-Type: text/plain", mail.User},
	} {
		if got := put(2+i, c.header).Kind; got != c.want {
			t.Errorf("%q is %v, want %v", c.header, got, c.want)
		}
	}
}
