package local

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"postrider/lib/config"
	"postrider/lib/mail"
	"postrider/lib/policy"
)

// routed delivers into the maildir at a path of sched.cf, whoever the recipient is. Like a
// file that an alias of root's names it belongs to default_privs.
func (d *delivery) routed(text string) mail.Status {
	self := target{address: d.rc.Address, sender: d.r.Sender}
	dir, err := d.site.macrosOf(d.r, d.rc, &self).path(text)
	switch {
	case errors.Is(err, errNoName):
		return bounced("5.1.3", "no mailbox can have this address")
	case err != nil:
		return deferred("4.3.5", "the maildir of its route in sched.cf: "+err.Error())
	}
	a, err := d.site.rights(0)
	if err != nil {
		return statusOf(err)
	}
	if d.r.Verify {
		return sent("delivers to maildir " + dir)
	}
	j := &job{Maildir: &maildir{Dir: dir, Host: d.site.hostname}}
	return perform(a, j, d.fill(&self, j)).Status
}

// errNoName is the kind of error of an address that cannot be a part of a path.
var errNoName = errors.New("it cannot be the name of a directory")

// path expands the names in the path of a maildir, in lower case. Nothing in an address is
// changed, as filters do, lest two have one mailbox: one with a slash, or with a dot in
// front, is an error instead.
func (m macros) path(text string) (string, error) {
	var bad error
	out, err := config.Expand(text, func(name string) string {
		v := strings.ToLower(m[name])
		switch {
		case !slices.Contains(policy.MaildirNames, name):
			bad = errors.New("there is no $" + name)
		case v == "" && name == "extension", v == "" && name == "sender":
		case !safeName(v):
			bad = errNoName
		}
		return v
	})
	return filepath.Clean(out), errors.Join(err, bad)
}
