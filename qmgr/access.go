package qmgr

import (
	"os"
	"strconv"
	"strings"

	"postrider/lib/ipc"
)

// mayChange says whether a peer may hold, release and delete, and read mail: root,
// and the owner of the mail system, which is whom we run as.
func mayChange(p ipc.Peer) bool { return p.UID == 0 || int(p.UID) == os.Getuid() }

// mayList and mayFlush obey authorized_mailq_users and authorized_flush_users. They run
// in the goroutine of the connection: reading a large passwd is none of the owner's work.
func (m *manager) mayList(p ipc.Peer) bool {
	return mayChange(p) || m.listed(ask(m, func() []string { return m.set.authMailq }), p.UID)
}
func (m *manager) mayFlush(p ipc.Peer) bool {
	return mayChange(p) || m.listed(ask(m, func() []string { return m.set.authFlush }), p.UID)
}

// listed looks a user up in a list of user names, static:anyone and !user; the
// first that fits decides.
func (m *manager) listed(list []string, uid uint32) bool {
	name := ""
	for _, w := range list {
		who, not := strings.CutPrefix(w, "!")
		if name == "" && !strings.HasPrefix(who, "static:") {
			name = m.userName(uid)
		}
		if who == name || strings.HasPrefix(who, "static:") {
			return !not
		}
	}
	return false
}

// userName looks a user up in the passwd file that master granted.
func (m *manager) userName(uid uint32) string {
	b, err := m.d.File("/etc/passwd")
	if err != nil {
		return strconv.Itoa(int(uid))
	}
	id := strconv.Itoa(int(uid))
	for line := range strings.Lines(string(b)) {
		if f := strings.Split(line, ":"); len(f) > 2 && f[2] == id {
			return f[0]
		}
	}
	return id
}
