package debian

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// users tries what users and the administrator let mail do on the machine.
func users(t *testing.T, m *machine) {
	m.run("echo 'team: joe, ann' >>/etc/aliases && newaliases")
	n := 0
	m.await("mail for a new alias arrives", func() bool { // a changed table counts after a moment
		n++
		m.as("joe", fmt.Sprintf("echo x | mail -s 'to the team, %d' team", n))
		for range 20 {
			if strings.Contains(m.mail("ann"), "Subject: to the team, ") {
				return true
			}
			time.Sleep(50 * time.Millisecond)
		}
		return false
	})
}
