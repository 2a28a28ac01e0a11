package postconf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"postrider/lib/config"
)

// change is what happens to one parameter of main.cf.
type change struct {
	name  string
	value string
	kind  changeKind
	done  bool
}

type changeKind uint8

const (
	set changeKind = iota
	remove
	comment
)

// edit changes main.cf.
func (c *command) edit() error {
	changes, err := c.changes()
	if err != nil {
		return err
	}
	if err := rewrite(filepath.Join(c.dir, "main.cf"), func(old string) (string, error) { return apply(old, changes), nil }); err != nil {
		return err
	}
	warnOf(c.dir, changes, c.warn)
	return nil
}

// rewrite replaces a file by what change makes of its text: under a lock on its
// directory, by a temporary file and a rename, with owner and mode kept, so that a
// reader sees the old file or the new one. A link to the file stays a link. The change
// is durable when it returns.
func rewrite(path string, change func(old string) (string, error)) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("%w (choose the directory with -c or MAIL_CONFIG)", err)
	}
	lock, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := change(string(old))
	if err != nil {
		return err
	}
	if err := replace(path, text); err != nil {
		return err
	}
	if err := lock.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", lock.Name(), err)
	}
	return nil
}

// changes reads the arguments.
func (o *options) changes() ([]change, error) {
	if len(o.Names) == 0 {
		return nil, errors.New("nothing to change: write NAME=VALUE, or NAME with -X or -#")
	}
	var out []change
	for _, arg := range o.Names {
		name, value, has := strings.Cut(arg, "=")
		c := change{name: strings.TrimSpace(name), value: strings.TrimSpace(value)}
		switch {
		case o.Remove:
			c.kind = remove
		case o.Comment:
			c.kind = comment
		case !has:
			return nil, fmt.Errorf("missing '=' after attribute name: %q", arg)
		}
		if c.kind != set && has {
			return nil, fmt.Errorf("-X and -# take a name alone: %q", arg)
		}
		if c.name == "" || c.name[0] == '#' || strings.ContainsAny(c.name, " \t\r\n") || strings.ContainsAny(c.value, "\r\n") {
			return nil, fmt.Errorf("a name without blanks and a value of one line are needed: %q", arg)
		}
		out = append(out, c)
	}
	// The last of several settings of one name holds.
	for i := range out {
		for j := range out[:i] {
			if out[j].name == out[i].name {
				out[j].done = true
			}
		}
	}
	return out, nil
}

// apply returns the text of main.cf with the changes made: a setting takes the
// place of the first line with its name and further ones go; a new one comes
// last. Comments stay, also those between continuation lines.
func apply(text string, changes []change) string {
	var b strings.Builder
	var current *change // of the logical line that we are in
	inside := false     // in a logical line at all
	for line := range strings.Lines(text) {
		bare := strings.TrimSpace(line)
		if bare == "" || bare[0] == '#' {
			b.WriteString(line)
			continue
		}
		first := !(line[0] == ' ' || '\t' <= line[0] && line[0] <= '\r') || !inside
		if first {
			inside = true
			name, _, _ := strings.Cut(line, "=")
			current = find(changes, strings.TrimSpace(name))
		}
		switch {
		case current == nil:
			b.WriteString(line)
		case current.kind == comment:
			b.WriteString("#" + line)
		case current.kind == set && first && !current.done:
			b.WriteString(current.line())
			current.done = true
		}
	}
	if s := b.String(); s != "" && !strings.HasSuffix(s, "\n") {
		b.WriteString("\n")
	}
	for i := range changes {
		if c := &changes[i]; c.kind == set && !c.done {
			b.WriteString(c.line())
		}
	}
	return b.String()
}

func (c *change) line() string { return strings.TrimRight(c.name+" = "+c.value, " ") + "\n" }

// find returns the last change of a name, which is the one that holds.
func find(changes []change, name string) *change {
	for i := len(changes) - 1; i >= 0; i-- {
		if changes[i].name == name {
			return &changes[i]
		}
	}
	return nil
}

// replace writes text in the place of the file.
func replace(path, text string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	if err := f.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// warnOf tells what is wrong with the settings just made.
func warnOf(dir string, changes []change, warn func(string)) {
	cfg, problems := config.Load(dir)
	for _, s := range cfg.Settings() {
		if find(changes, s.Name) == nil {
			continue
		}
		for _, p := range problems {
			if p.File == s.File && p.Line == s.Line && p.Severity != config.NoEffect {
				warn(p.String())
			}
		}
	}
}
