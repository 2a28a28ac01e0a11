package debian

import (
	"os"
	"strings"
	"testing"
)

// users tries what users and the administrator let mail do on the machine.
func users(t *testing.T, m *machine) {
	// note says whose it was run as, by the name of the file that it makes.
	m.write("/usr/local/bin/note", "#!/bin/sh\ncat >/var/note/$1.$(id -un)\n", 0o755)
	m.run("mkdir -m 1777 /var/note") // /tmp is the service's own
	m.run("echo 'team: joe, ann' >>/etc/aliases && echo 'prog: \"|/usr/local/bin/note alias\"' >>/etc/aliases && newaliases")
	m.as("joe", "echo x | mail -s 'to the team' team") // at once: it waits for the new table
	m.received("ann", "Subject: to the team")

	exists := func(name string) bool { _, err := os.Stat(m.path(name)); return err == nil }
	m.as("joe", "echo x | mail -s 'to a program' prog")
	m.await("the command of an alias runs as nobody", func() bool { return exists("/var/note/alias.nobody") })

	// A user's own file: a command as the user, and the mailbox.
	m.run(`printf '\\ann\n"|/usr/local/bin/note forward"\n' >/home/ann/.forward && chown ann:ann /home/ann/.forward`)
	m.as("joe", "echo x | mail -s 'to be forwarded' ann")
	m.await("the command of a .forward runs as the user", func() bool { return exists("/var/note/forward.ann") })
	m.received("ann", "Subject: to be forwarded")

	// A program of a user that answers: the set-gid postdrop works for it.
	m.write("/usr/local/bin/answer", "#!/bin/sh\ncat >/dev/null\nprintf 'Subject: away\\n\\n' | /usr/sbin/sendmail joe\n", 0o755)
	m.run(`useradd -m lea && echo '|/usr/local/bin/answer' >/home/lea/.forward && chown lea:lea /home/lea/.forward`)
	m.as("joe", "echo x | mail -s 'to be answered' lea")
	m.received("joe", "Subject: away")
	if !strings.Contains(m.mail("joe"), "From: lea@fresh.example.com") {
		t.Errorf("the answer's sender:\n%s", m.mail("joe"))
	}

	// C71, hostile ones: that others may write, that is another's, and one that leads to
	// what the user may not read.
	m.run("useradd -m eve && useradd -m bob && useradd -m mal")
	m.run(`echo '"|/usr/local/bin/note writable"' >/home/eve/.forward && chown eve:eve /home/eve/.forward && chmod 666 /home/eve/.forward`)
	m.run(`echo '"|/usr/local/bin/note foreign"' >/home/bob/.forward && chown joe:joe /home/bob/.forward`)
	m.run("ln -s /etc/shadow /home/mal/.forward && chown -h mal:mal /home/mal/.forward")
	for _, user := range []string{"eve", "bob", "mal"} {
		m.as("joe", "echo x | mail -s 'for "+user+"' "+user)
	}
	m.await("the fate of mail for hostile .forward files", func() bool {
		log := m.log()
		for _, user := range []string{"eve", "bob", "mal"} {
			if !strings.Contains(log, "to=<"+user+"@fresh.example.com>") {
				return false
			}
		}
		return true
	})
	if out, _ := m.try("ls /var/note/writable.* /var/note/foreign.* 2>/dev/null"); out != "" {
		t.Errorf("a hostile .forward was followed: %s", out)
	}
	if out, _ := m.try("grep -rl 'root:' /home/*/Maildir /var/mail 2>/dev/null; mailq | grep root:"); out != "" {
		t.Errorf("/etc/shadow leaked: %s", out)
	}
}

// smtp speaks on standard input and output.
func smtp(t *testing.T, m *machine) {
	out := m.as("joe", `printf 'EHLO here\r\nMAIL FROM:<joe>\r\nRCPT TO:<ann>\r\nDATA\r\nSubject: by -bs\r\n\r\nhello\r\n.\r\nQUIT\r\n' | sendmail -bs`)
	if !strings.HasPrefix(out, "220 fresh.example.com ESMTP") || !strings.Contains(out, "\n221 ") {
		t.Errorf("sendmail -bs:\n%s", out)
	}
	m.received("ann", "Subject: by -bs")
}
