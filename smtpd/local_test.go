package smtpd

import (
	"net/netip"
	"testing"

	"postrider/lib/maillog"
)

// TestLocalClients: whose headers are completed (local_header_rewrite_clients).
func TestLocalClients(t *testing.T) {
	log := maillog.New("postfix/smtpd", maillog.Options{Host: "mx"})
	t.Cleanup(log.Close)
	for _, x := range []struct {
		setting, client, user string
		want                  bool
	}{
		{"", "127.0.0.1", "", true},
		{"", "192.0.2.9", "joe", false},
		{"local_header_rewrite_clients = permit_mynetworks", "192.0.2.9", "", true},
		{"local_header_rewrite_clients = permit_mynetworks", "198.51.100.1", "joe", false},
		{"local_header_rewrite_clients = permit_sasl_authenticated", "198.51.100.1", "joe", true},
		{"local_header_rewrite_clients = permit_sasl_authenticated", "127.0.0.1", "", false},
		{"local_header_rewrite_clients =", "127.0.0.1", "joe", false},
		{"local_header_rewrite_clients = permit_tls_clientcerts", "127.0.0.1", "joe", false},
	} {
		f := &front{set: settingsFor(t, log, x.setting+"\n"), addr: netip.MustParseAddr(x.client)}
		f.client.SASLUser = x.user
		if got := f.local(); got != x.want {
			t.Errorf("%q: %s %q: %v", x.setting, x.client, x.user, got)
		}
	}
}
