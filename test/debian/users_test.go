package debian

import (
	"strings"
	"testing"
)

// users tries what users and the administrator let mail do on the machine.
func users(t *testing.T, m *machine) {
	m.run("echo 'team: joe, ann' >>/etc/aliases && newaliases")
	m.await("the alias is known", func() bool { // changed tables count within a second
		out, _ := m.try("grep -c 'aliases.cdb has changed' /var/log/syslog")
		return strings.TrimSpace(out) != "0"
	})
	m.as("joe", "echo x | mail -s 'to the team' team")
	m.received("joe", "Subject: to the team")
	m.received("ann", "Subject: to the team")
}
