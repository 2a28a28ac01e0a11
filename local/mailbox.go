package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/address"
	"postrider/lib/header"
	"postrider/lib/mail"
	"postrider/lib/table"
)

// mailbox delivers to t.user: by his .forward when he has one, else to his mailbox.
func (d *delivery) mailbox(t target) (mail.Status, bool) {
	j, a, err := d.place(t)
	if errors.Is(err, errUnknown) && d.renewed() {
		return d.deliver()
	}
	if errors.Is(err, errUnknown) {
		return d.unknown(t, err)
	}
	if err != nil {
		return statusOf(err), false
	}
	if t.direct {
		j.Forward = nil
	}
	if j.Transport != "" && len(j.Forward) == 0 {
		return d.handOver(j.Transport, t)
	}
	x := perform(a, j, d.fill(&t, j))
	if x.Warn != "" {
		d.log.Warnf("%s: %s: it is not used", d.r.Queue, x.Warn)
	}
	if !x.Found && x.Status.DSN == "" {
		t.direct = true // there was nothing to do but to look
		return d.mailbox(t)
	}
	if !x.Found {
		return x.Status, false
	}
	e, err := d.forwarded(t, x)
	if err != nil {
		return statusOf(err), false
	}
	switch list := e.targets; {
	case len(list) == 0, len(list) == 1 && list[0].here && list[0].user == t.user: // nothing in it, or himself
		t.direct = true
		return d.mailbox(t)
	default:
		return d.targets(list)
	}
}

// forwarded expands a .forward of t.user.
func (d *delivery) forwarded(t target, x answer) (*expansion, error) {
	e := d.expansion()
	e.of = t.address
	list, err := table.ParseTargetLines(x.Text)
	if err != nil {
		return nil, &failure{deferred("4.3.5", fmt.Sprintf("the .forward of %s cannot be understood: %s", t.user, strings.ReplaceAll(err.Error(), "\n", "; ")))}
	}
	src := source{key: t.user + "/.forward", by: "forward", uid: x.Owner, self: t.user}
	if local := t.address.Local(); slices.Contains(d.site.keep, "forward") && !strings.HasSuffix(x.Path, local[len(d.site.user(local)):]) {
		src.ext = local[len(d.site.user(local)):]
	}
	return e, e.list(src, list, t.sender)
}

// luser sends mail for an unknown user on (luser_relay).
func (d *delivery) luser(t target) (mail.Status, bool) {
	text, _, err := d.site.macrosOf(d.r, d.rc, &t).expand(d.site.luserRelay, d.site.filters.forward)
	if err != nil {
		return deferred("4.3.5", "luser_relay: "+err.Error()), false
	}
	list, err := header.Addresses(nil, []byte(text), header.DefaultTokens)
	if err != nil || len(list) == 0 {
		return deferred("4.3.5", "luser_relay has no address"), false
	}
	var targets []target
	for _, a := range list {
		targets = append(targets, target{address: d.site.resolver.Rewrite(a), sender: t.sender})
	}
	return d.forward(targets)
}

// fill gives the message as a job wants it: lines ended by LF, behind the fields of a
// final delivery, and in a mailbox file marked off from the others.
func (d *delivery) fill(t *target, j *job) func(io.Writer) error {
	head := fmt.Sprintf("Return-Path: <%s>\nX-Original-To: %s\n", t.sender.External(), original(d.rc).External())
	kind := ""
	switch {
	case j.Command != nil:
		kind = "command"
	case j.Mbox != nil && j.Mbox.Target:
		kind = "file"
	}
	if kind == "" || slices.Contains(d.site.deliveredTo, kind) {
		head += "Delivered-To: " + d.rc.Address.External() + "\n"
	}
	if j.Maildir == nil {
		from := t.sender.External()
		if from == "" {
			from = "MAILER-DAEMON"
		}
		head = "From " + strings.ReplaceAll(from, " ", "_") + "  " + d.now().Format(time.ANSIC) + "\n" + head
	}
	return func(w io.Writer) error {
		if _, err := io.WriteString(w, head); err != nil {
			return err
		}
		if j.Mbox == nil {
			lf := newLineFeeds(w)
			if err := copyContent(lf, &d.r.Content); err != nil {
				return err
			}
			return lf.end()
		}
		marked := &fromLines{w: w}
		lf := newLineFeeds(marked)
		if err := copyContent(lf, &d.r.Content); err != nil {
			return err
		}
		if err := lf.end(); err != nil {
			return err
		}
		return marked.end()
	}
}

// unknownUser is the failure of a name that is nobody's.
type unknownUser struct{ failure }

var errUnknown = errors.New("unknown user")

func (u *unknownUser) Unwrap() []error { return []error{&u.failure, errUnknown} }

// place says what is to be done for t.user, and whose rights it takes; a nil account is
// our own. An error is a *failure.
func (d *delivery) place(t target) (*job, *account, error) {
	s := d.site
	lookup := &failure{deferred("4.3.0", "user lookup error for "+t.user)}
	service, err := s.mailboxTransport.of(d.ctx, t.user)
	if err != nil {
		return nil, nil, err
	}
	nobody := func() (*job, *account, error) {
		if service != "" { // which knows other names
			return &job{Transport: service}, nil, nil
		}
		return nil, nil, &unknownUser{failure{bounced("5.1.1", fmt.Sprintf("unknown user: %q", t.user))}}
	}
	if !safeName(t.user) {
		return nobody()
	}
	j := &job{User: t.user, Transport: service}
	m := s.macrosOf(d.r, d.rc, &t)
	if !s.root {
		if s.listed {
			rt := address.Route{Recipient: mail.Address(t.user + "@" + t.address.Domain()), Class: address.Local}
			ok, _, err := s.resolver.Listed(d.ctx, rt)
			if err != nil {
				return nil, nil, lookup
			}
			if !ok {
				return nobody()
			}
		}
		return j, nil, s.store(d, j, nil, m, t)
	}
	if s.noUsers != nil {
		return nil, nil, lookup
	}
	a := s.accounts[t.user]
	if a == nil {
		return nobody()
	}
	j.UID = a.uid
	if s.needHome {
		j.Home = a.home
	}
	for path := range strings.FieldsFuncSeq(s.forwardPath, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		text, missing, err := m.expand(path, s.filters.forward)
		if err != nil {
			return nil, nil, &failure{deferred("4.3.5", "forward_path: "+err.Error())}
		}
		// A path with an extension that is not there is none, and none leads elsewhere.
		if !missing && strings.HasPrefix(text, "/") && !strings.Contains(m["extension"], "/") {
			j.Forward = append(j.Forward, text)
		}
	}
	if err := s.store(d, j, a, m, t); err != nil {
		return nil, nil, err
	}
	if j.Command != nil && a.uid == 0 { // no command is root's, and what is asked before neither
		if s.nobody == nil {
			return nil, nil, &failure{deferred("4.3.5", "default_privs names no user but root")}
		}
		if t.direct || len(j.Forward) == 0 {
			a = s.nobody
		} else {
			j.Command = nil // his .forward first
		}
	}
	return j, a, nil
}

// store says where the mail of a user goes when no .forward takes it.
func (s *site) store(d *delivery, j *job, a *account, m macros, t target) error {
	if j.Transport != "" {
		return nil
	}
	text := s.mailboxCommand
	if v, ok, err := s.commandMaps.Lookup(d.ctx, t.user); err != nil {
		return &failure{deferred("4.3.0", "mailbox_command_maps: "+err.Error())}
	} else if ok {
		text = v
	}
	if text != "" {
		c, err := s.command(m, text, true, a != nil)
		j.Command = c
		return err
	}
	file := func(path string) {
		if strings.HasSuffix(path, "/") {
			j.Maildir = &maildir{Dir: filepath.Clean(path), Host: s.hostname}
			return
		}
		box := s.mbox
		box.Path = path
		j.Mbox = &box
	}
	switch {
	case a == nil && (s.home == "" || strings.HasSuffix(s.home, "/")):
		file(filepath.Join(s.spool, t.user) + "/")
	case a == nil:
		file(filepath.Join(s.spool, t.user))
	case s.home != "":
		file(a.home + "/" + s.home)
	case strings.HasSuffix(s.spool, "/"):
		if err := spoolDir(s.spool, a); err != nil {
			return &failure{maildirStatus(err)}
		}
		file(filepath.Join(s.spool, a.name) + "/")
	default:
		file(filepath.Join(s.spool, a.name))
		j.Group = true
	}
	return nil
}

// command makes a command of its text; in mailbox_command the names of a delivery have
// their values.
func (s *site) command(m macros, text string, expand, user bool) (*command, error) {
	var err error
	if expand {
		if text, _, err = m.expand(text, s.filters.command); err != nil {
			return nil, &failure{deferred("4.3.5", "mailbox_command: "+err.Error())}
		}
	}
	dir, _, err := m.expand(s.commandDir, s.filters.directory)
	if err != nil {
		return nil, &failure{deferred("4.3.5", "command_execution_directory: "+err.Error())}
	}
	return &command{Text: text, Shell: s.shell, Env: m.environment(user), Dir: dir, Time: s.commandTime}, nil
}

// special delivers to a command or file of an alias, a .forward or a list.
func (d *delivery) special(t *target) mail.Status {
	s := d.site
	allowed, what := s.toCommands, "command"
	if t.kind == table.TargetFile {
		allowed, what = s.toFiles, "file"
	}
	if !slices.Contains(allowed, t.by) {
		return bounced("5.7.1", "mail to "+what+" is restricted")
	}
	a, err := s.rights(t.uid)
	if err != nil {
		return statusOf(err)
	}
	j := &job{}
	m := s.macrosOf(d.r, d.rc, t)
	switch {
	case t.kind == table.TargetCommand:
		if j.Command, err = s.command(m, t.text, false, false); err != nil {
			return statusOf(err)
		}
		if a != nil && t.by != "alias" && a.uid == t.uid { // a user's own
			j.Command.Env = append(j.Command.Env, "HOME="+a.home, "USER="+a.name, "LOGNAME="+a.name, "SHELL="+a.shell)
		}
	case strings.HasSuffix(t.text, "/"):
		j.Maildir = &maildir{Dir: filepath.Clean(t.text), Host: s.hostname}
	default:
		box := s.mbox
		box.Path, box.Target = t.text, true
		j.Mbox = &box
	}
	return perform(a, j, d.fill(t, j)).Status
}

// spoolDir makes the user's directory below mail_spool_directory, where he may make
// none, and gives it to him.
func spoolDir(spool string, a *account) error {
	top, err := unix.Open(spool, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: spool, Err: err}
	}
	defer unix.Close(top)
	path := filepath.Join(spool, a.name)
	if err := unix.Mkdirat(top, a.name, 0o700); err != nil {
		if errors.Is(err, unix.EEXIST) {
			return nil // his or not: the helper has only his rights
		}
		return &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	d, err := unix.Openat(top, a.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == nil {
		if err = unix.Fchown(d, int(a.uid), int(a.gid)); err == nil {
			err = unix.Fsync(top)
		}
		unix.Close(d)
	}
	if err != nil {
		return &os.PathError{Op: "make", Path: path, Err: err}
	}
	return nil
}

// safeName says whether a name can be that of a directory without leading anywhere
// else.
func safeName(s string) bool {
	if s == "" || len(s) > 255 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == 0x7f || c == '/' {
			return false
		}
	}
	return true
}
