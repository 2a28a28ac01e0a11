package postdrop

import (
	"os/user"
	"strconv"
	"strings"

	"postrider/lib/config"
	"postrider/lib/sysexits"
)

// authorize applies authorized_submit_users to the real uid: names, "!name", and
// static:, the first that matches decides. root and mail_owner may always. Other
// tables cannot be asked here: whoever names one has the caller refused rather than
// let in.
func (e *env) authorize(c *config.Config) error {
	list := c.List("authorized_submit_users")
	if e.uid == 0 || len(list) > 0 && strings.HasPrefix(list[0], "static:") {
		return nil // the usual case needs no passwd
	}
	login := strconv.Itoa(e.uid)
	known := "unknown"
	if u, err := user.LookupId(login); err == nil {
		known = u.Username
	}
	if known == c.String("mail_owner") {
		return nil
	}
	for _, p := range list {
		p, not := strings.CutPrefix(p, "!")
		if p == known || strings.HasPrefix(p, "static:") {
			if not {
				break
			}
			return nil
		}
	}
	return fail(sysexits.NoPerm, "User %s(%s) is not allowed to submit mail", known, login)
}
