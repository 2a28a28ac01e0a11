package local

import (
	"errors"
	"fmt"
	"sync"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/table"
)

// site is what one configuration says about delivery on this machine. It does not
// change.
type site struct {
	root     bool   // started by root: mailboxes belong to users of the machine
	hostname string // myhostname
	mailName string // mail_name
	origin   string // myorigin
	double   string // double_bounce_sender
	home     string // home_mailbox
	spool    string // mail_spool_directory
	maxProc  int

	aliases     table.Maps
	split       table.Splitter
	resolver    *address.Resolver
	listed      bool // local_recipient_maps says who there is
	filterLimit int  // duplicate_filter_limit
	expandOwner bool // expand_owner_alias

	accounts map[string]*account
	noUsers  error // why there are no accounts

	warned sync.Map // aliases the operator has been told of
}

// newSite can be used whatever the error, which says which tables could not be read:
// what depends on them is deferred.
func newSite(c *config.Config, open table.Opener, root bool) (*site, error) {
	s := &site{
		root: root, hostname: c.String("myhostname"), mailName: c.String("mail_name"), origin: c.String("myorigin"),
		double: c.String("double_bounce_sender"), home: c.String("home_mailbox"), spool: c.String("mail_spool_directory"),
		listed:      len(c.List("local_recipient_maps")) > 0,
		split:       address.Splitter(c),
		filterLimit: c.Int("duplicate_filter_limit"), expandOwner: c.Bool("expand_owner_alias"),
	}
	errs := make([]error, 3)
	s.aliases, errs[0] = table.Open(c.List("alias_maps"), address.TableOptions(c, open))
	s.resolver, errs[1] = address.New(c, open)
	if root {
		if s.accounts, s.noUsers = readAccounts(open); s.noUsers != nil {
			errs[2] = fmt.Errorf("no users of the machine: %w", s.noUsers)
		}
	}
	return s, errors.Join(errs...)
}
