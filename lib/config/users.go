package config

import (
	"strconv"
	"strings"
)

// ListsUser says whether a list of users, as authorized_submit_users has it, names one:
// names, "!name" and static:, of which the first that matches decides. Other tables are
// not asked: whoever is in one only is not let in. name is called when the list has names.
func ListsUser(list []string, name func() string) bool {
	known := ""
	for _, w := range list {
		who, not := strings.CutPrefix(w, "!")
		if strings.HasPrefix(who, "static:") {
			return !not
		}
		if known == "" {
			known = name()
		}
		if who == known {
			return !not
		}
	}
	return false
}

// UserName looks a user up in the text of a passwd file; an unknown one is his number.
func UserName(passwd string, uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	for line := range strings.Lines(passwd) {
		if f := strings.Split(line, ":"); len(f) > 2 && f[2] == id {
			return f[0]
		}
	}
	return id
}
