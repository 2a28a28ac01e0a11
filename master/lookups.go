package master

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/table"
)

// lookupFaults says which tables, patterns and names of main.cf no daemon could use.
func lookupFaults(c *config.Config) (faults []string) {
	for _, p := range config.Params() {
		if _, set := c.Set(p.Name); !set || p.Support != config.Supported || !strings.HasSuffix(p.Name, "_maps") && p.Name != onlyMade {
			continue
		}
		for _, spec := range c.List(p.Name) {
			if _, err := table.Parse(spec); err != nil {
				faults = append(faults, fmt.Sprintf("%s: %v", p.Name, err))
			}
		}
	}
	switch u, err := user.Lookup(c.String("default_privs")); {
	case err != nil:
		faults = append(faults, fmt.Sprintf("default_privs = %s: no such user of this machine", c.String("default_privs")))
	case u.Uid == "0":
		faults = append(faults, fmt.Sprintf("default_privs = %s: commands and files of aliases must not get root's rights: name another user", c.String("default_privs")))
	}
	// Patterns: what a file holds is looked at by checkTables.
	closed := func(string) (*io.SectionReader, error) { return nil, fs.ErrNotExist }
	_, err := address.New(c, closed)
	for _, err := range parts(err) {
		if !errors.Is(err, fs.ErrNotExist) && !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, err.Error()) }) {
			faults = append(faults, err.Error())
		}
	}
	return faults
}

// parts takes joined errors apart.
func parts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, parts(e)...)
		}
		return all
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// logFaults says why the log cannot be written.
func logFaults(c *config.Config) []string {
	name := c.String("maillog_file")
	if name == "" {
		if _, err := os.Stat(devLog); err != nil {
			return []string{fmt.Sprintf("there is no log: %v (start a syslog daemon, or set maillog_file)", err)}
		}
		return nil
	}
	if strings.HasPrefix(name, "/dev/") {
		return nil
	}
	if st, err := os.Stat(filepath.Dir(name)); err != nil || !st.IsDir() {
		return []string{fmt.Sprintf("there is no log: maillog_file = %s: no directory %s (make it, or change maillog_file)", name, filepath.Dir(name))}
	}
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		return []string{fmt.Sprintf("there is no log: maillog_file = %s is a directory", name)}
	}
	return nil
}
