package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"postrider/lib/table"
)

// account is a user of the machine.
type account struct {
	name     string
	uid, gid uint32
	groups   []uint32 // supplementary ones
	home     string
	shell    string
}

// readAccounts reads the granted passwd(5) and group(5). Without the latter nobody has
// supplementary groups: a Maildir needs none.
func readAccounts(open table.Opener) (map[string]*account, error) {
	passwd, err := readAll(open, "/etc/passwd")
	if err != nil {
		return nil, err
	}
	group, err := readAll(open, "/etc/group")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	m := parsePasswd(passwd)
	addGroups(m, group)
	return m, nil
}

// maxAccounts bounds the size of passwd and group, in bytes.
const maxAccounts = 64 << 20

func readAll(open table.Opener, path string) (string, error) {
	r, err := open(path)
	if err != nil {
		return "", err
	}
	if r.Size() > maxAccounts {
		return "", fmt.Errorf("read %s: larger than %d bytes", path, maxAccounts)
	}
	b := make([]byte, r.Size())
	if _, err := io.ReadFull(r, b); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return string(b), nil
}

// parsePasswd reads passwd(5). A line that is none is left out; of two with one name
// the first holds.
func parsePasswd(text string) map[string]*account {
	m := map[string]*account{}
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), ":")
		if len(f) < 7 || f[0] == "" || m[f[0]] != nil || !strings.HasPrefix(f[5], "/") {
			continue
		}
		uid, ok1 := id(f[2])
		gid, ok2 := id(f[3])
		if ok1 && ok2 {
			m[f[0]] = &account{name: f[0], uid: uid, gid: gid, home: f[5], shell: f[6]}
		}
	}
	return m
}

// byUID returns an account with the uid, or nil.
func byUID(m map[string]*account, uid uint32) (a *account) {
	for _, x := range m {
		if x.uid == uid && (a == nil || x.name < a.name) {
			a = x
		}
	}
	return a
}

// addGroups reads group(5).
func addGroups(m map[string]*account, text string) {
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), ":")
		if len(f) < 4 {
			continue
		}
		gid, ok := id(f[2])
		if !ok {
			continue
		}
		for name := range strings.SplitSeq(f[3], ",") {
			if a := m[name]; a != nil {
				a.groups = append(a.groups, gid)
			}
		}
	}
}

// id reads a uid or gid; the one that means "no change" to the kernel is none.
func id(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n != 1<<32-1
}
