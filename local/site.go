package local

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

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
	made     time.Time
	sources  []string // files that say which names there are

	aliases     []aliasTable
	split       table.Splitter
	delimiter   string // recipient_delimiter
	keep        []string
	resolver    *address.Resolver
	listed      bool // local_recipient_maps says who there is
	filterLimit int  // duplicate_filter_limit
	expandOwner bool // expand_owner_alias

	toCommands, toFiles, deliveredTo []string
	mailboxCommand, forwardPath      string
	luserRelay, commandDir           string
	commandMaps                      table.Maps

	mailboxTransport, fallbackTransport elsewhere

	shell       []string
	filters     filters
	commandTime time.Duration
	mbox        mbox // what all mailbox files have in common
	needHome    bool

	accounts map[string]*account
	noUsers  error    // why there are no accounts
	nobody   *account // default_privs; nil: there is none

	warned sync.Map // aliases the operator has been told of
}

// filters are the characters that a message may put into what is executed.
type filters struct{ command, directory, forward string }

// aliasTable is one of alias_maps, with the owner of its file: who its commands run as.
type aliasTable struct {
	maps table.Maps
	uid  uint32
}

// owners says whose a granted file is; 0 when nobody knows.
type owners func(path string) uint32

// newSite can be used whatever the error, which says which tables could not be read:
// what depends on them is deferred.
func newSite(c *config.Config, open table.Opener, owner owners, root bool) (*site, error) {
	s := &site{
		made: time.Now(), sources: sources(c, root), root: root, hostname: c.String("myhostname"), mailName: c.String("mail_name"), origin: c.String("myorigin"),
		double: c.String("double_bounce_sender"), home: c.String("home_mailbox"), spool: c.String("mail_spool_directory"),
		listed: len(c.List("local_recipient_maps")) > 0,
		split:  address.Splitter(c), delimiter: c.String("recipient_delimiter"), keep: c.List("propagate_unmatched_extensions"),
		filterLimit: c.Int("duplicate_filter_limit"), expandOwner: c.Bool("expand_owner_alias"),
		toCommands: c.List("allow_mail_to_commands"), toFiles: c.List("allow_mail_to_files"), deliveredTo: c.List("prepend_delivered_header"),
		mailboxCommand: c.String("mailbox_command"), forwardPath: c.String("forward_path"), luserRelay: c.String("luser_relay"),
		commandDir: c.String("command_execution_directory"), shell: strings.Fields(c.String("local_command_shell")),
		filters:     filters{c.String("command_expansion_filter"), c.String("execution_directory_expansion_filter"), c.String("forward_expansion_filter")},
		commandTime: c.Duration("command_time_limit"), needHome: c.Bool("require_home_directory"),
		mbox: mbox{Attempts: c.Int("deliver_lock_attempts"), Delay: c.Duration("deliver_lock_delay"), Stale: c.Duration("stale_lock_time"),
			Limit: int64(c.Int("mailbox_size_limit")), Strict: c.Bool("strict_mailbox_ownership")},
	}
	locks := c.List("mailbox_delivery_lock")
	s.mbox.Dotlock, s.mbox.Flock, s.mbox.Fcntl = slices.Contains(locks, "dotlock"), slices.Contains(locks, "flock"), slices.Contains(locks, "fcntl")
	var errs []error
	o := address.TableOptions(c, open)
	o.Fixed = true
	for _, spec := range c.List("alias_maps") {
		m, err := table.Open([]string{spec}, o)
		errs = append(errs, err)
		t := aliasTable{maps: m}
		for _, path := range table.Files([]string{spec}) {
			t.uid = owner(path)
		}
		s.aliases = append(s.aliases, t)
	}
	var err error
	s.commandMaps, err = table.Open(c.List("mailbox_command_maps"), o)
	errs = append(errs, err)
	for name, e := range map[string]*elsewhere{"mailbox_transport": &s.mailboxTransport, "fallback_transport": &s.fallbackTransport} {
		m, err := table.Open(c.List(name+"_maps"), o)
		errs = append(errs, err)
		*e = elsewhere{name: name, maps: m, all: c.String(name)}
	}
	s.resolver, err = address.New(c, open)
	errs = append(errs, err)
	if root {
		if s.accounts, s.noUsers = readAccounts(open); s.noUsers != nil {
			errs = append(errs, fmt.Errorf("no users of the machine: %w", s.noUsers))
		}
		if s.nobody = s.accounts[c.String("default_privs")]; s.nobody != nil && s.nobody.uid == 0 {
			s.nobody = nil
		}
	}
	return s, errors.Join(errs...)
}

// delimiter1 is what stands between user and extension.
func (s *site) delimiter1() string { return s.delimiter[:min(1, len(s.delimiter))] }
