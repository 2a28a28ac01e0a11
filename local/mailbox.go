package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"postrider/lib/address"
	"postrider/lib/agent"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

// mailbox delivers to the Maildir of t.user.
func (l *deliverer) mailbox(ctx context.Context, s *site, r *agent.Request, rc *proto.DeliverRecipient, t target) mail.Status {
	a, dir, err := s.place(ctx, t)
	if err != nil {
		return statusOf(err)
	}
	head := fmt.Sprintf("Return-Path: <%s>\nX-Original-To: %s\nDelivered-To: %s\n",
		t.sender.External(), original(rc).External(), rc.Address.External())
	fill := func(w io.Writer) error {
		if _, err := io.WriteString(w, head); err != nil {
			return err
		}
		lf := newLineFeeds(w)
		if err := copyContent(lf, &r.Content); err != nil {
			return err
		}
		return lf.end()
	}
	m := maildir{dir: dir, host: s.hostname}
	if a != nil {
		return runHelper(a, m, fill)
	}
	if err := m.deliver(fill); err != nil {
		return statusOf(err)
	}
	return mailboxStatus(kindNone, "")
}

// place says which Maildir is t.user's and whose rights it takes to write there; a nil
// account is our own. An error is *failure.
func (s *site) place(ctx context.Context, t target) (a *account, dir string, err error) {
	unknown := &failure{bounced("5.1.1", fmt.Sprintf("unknown user: %q", t.user))}
	if !safeName(t.user) {
		return nil, "", unknown
	}
	if !s.root {
		if s.listed {
			rt := address.Route{Recipient: mail.Address(t.user + "@" + t.address.Domain()), Class: address.Local}
			ok, _, err := s.resolver.Listed(ctx, rt)
			if err != nil {
				return nil, "", &failure{deferred("4.3.0", "user lookup error for "+t.user)}
			}
			if !ok {
				return nil, "", unknown
			}
		}
		return nil, filepath.Join(s.spool, t.user), nil
	}
	if s.noUsers != nil {
		return nil, "", &failure{deferred("4.3.0", "user lookup error for "+t.user)}
	}
	if a = s.accounts[t.user]; a == nil {
		return nil, "", unknown
	}
	switch {
	case strings.HasSuffix(s.home, "/"):
		return a, filepath.Join(a.home, s.home), nil
	case s.home == "" && strings.HasSuffix(s.spool, "/"):
		if err := spoolDir(s.spool, a); err != nil {
			return nil, "", &failure{mailboxStatus(kindOf(err), err.Error())}
		}
		return a, filepath.Join(s.spool, a.name), nil
	}
	return nil, "", &failure{deferred("4.3.5", `mailbox files are not supported yet: let home_mailbox end with "/" for a Maildir`)}
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

// lineFeeds turns CRLF into LF.
type lineFeeds struct {
	w    io.Writer
	cr   bool // a CR is held back
	last byte
}

func newLineFeeds(w io.Writer) *lineFeeds { return &lineFeeds{w: w, last: '\n'} }

func (l *lineFeeds) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if l.cr {
			l.cr = false
			if p[0] != '\n' {
				if err := l.put([]byte{'\r'}); err != nil {
					return 0, err
				}
			}
		}
		i := bytes.IndexByte(p, '\r')
		if i < 0 {
			return n, l.put(p)
		}
		if err := l.put(p[:i]); err != nil {
			return 0, err
		}
		p, l.cr = p[i+1:], true
	}
	return n, nil
}

func (l *lineFeeds) put(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	l.last = p[len(p)-1]
	_, err := l.w.Write(p)
	return err
}

// end writes what is held back and ends the last line.
func (l *lineFeeds) end() error {
	if l.cr {
		l.cr = false
		if err := l.put([]byte{'\r'}); err != nil {
			return err
		}
	}
	if l.last != '\n' {
		return l.put([]byte{'\n'})
	}
	return nil
}
