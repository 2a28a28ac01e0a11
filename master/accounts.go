package master

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"postrider/lib/config"
)

// account is a user of the machine, as numbers.
type account struct{ uid, gid uint32 }

// accounts are the users that daemons run as when master was started by root.
type accounts struct {
	in, out, msg, bounce account
	owner                account // mail_owner
	postdrop             uint32  // group setgid_group
}

// The fixed names; mail_owner and setgid_group are parameters.
const (
	userIn     = "postrider-in"
	userOut    = "postrider-out"
	userMsg    = "postrider-msg"
	userBounce = "postrider-bounce"
)

// findAccounts looks all of them up. The error says how to make those that are
// missing.
func findAccounts(c *config.Config) (*accounts, error) {
	var (
		a       accounts
		missing []string
		cmds    []string
	)
	group := c.String("setgid_group")
	if g, err := user.LookupGroup(group); err == nil {
		a.postdrop = number(g.Gid)
	} else if errors.As(err, new(user.UnknownGroupError)) {
		missing = append(missing, "group "+group)
		cmds = append(cmds, "groupadd --system "+group)
	} else {
		return nil, fmt.Errorf("group %s: %w", group, err)
	}
	for _, x := range []struct {
		name string
		to   *account
	}{{c.String("mail_owner"), &a.owner}, {userIn, &a.in}, {userOut, &a.out}, {userMsg, &a.msg}, {userBounce, &a.bounce}} {
		u, err := user.Lookup(x.name)
		if errors.As(err, new(user.UnknownUserError)) {
			missing = append(missing, "user "+x.name)
			cmds = append(cmds, "useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "+x.name)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", x.name, err)
		}
		*x.to = account{number(u.Uid), number(u.Gid)}
		if x.to.uid == 0 {
			return nil, fmt.Errorf("user %s has uid 0: no daemon that reads mail may be root", x.name)
		}
	}
	if missing != nil {
		return nil, fmt.Errorf("missing %s: make them with \"make accounts\", or: %s", strings.Join(missing, ", "), strings.Join(cmds, "; "))
	}
	return &a, nil
}

func number(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}

// ids returns the accounts if master runs as root, else nil: then everything
// runs as the caller.
func ids(c *config.Config) (*accounts, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	return findAccounts(c)
}
