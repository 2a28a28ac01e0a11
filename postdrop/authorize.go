package postdrop

import (
	"os/user"
	"strconv"

	"postrider/lib/config"
	"postrider/lib/sysexits"
)

// authorize applies authorized_submit_users to the real uid. root and mail_owner may
// always.
func (e *env) authorize(c *config.Config) error {
	if e.uid == 0 {
		return nil
	}
	known := ""
	name := func() string {
		if known == "" {
			known = "unknown"
			if u, err := user.LookupId(strconv.Itoa(e.uid)); err == nil {
				known = u.Username
			}
		}
		return known
	}
	if config.ListsUser(c.List("authorized_submit_users"), name) || name() == c.String("mail_owner") {
		return nil
	}
	return fail(sysexits.NoPerm, "User %s(%d) is not allowed to submit mail", name(), e.uid)
}
