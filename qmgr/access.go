package qmgr

import (
	"os"

	"postrider/lib/config"
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

// listed looks a user up in a list of users, with the passwd file that master granted.
func (m *manager) listed(list []string, uid uint32) bool {
	return config.ListsUser(list, func() string {
		b, _ := m.d.File("/etc/passwd")
		return config.UserName(string(b), uid)
	})
}
