package local

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"postrider/lib/address"
	"postrider/lib/mail"
	"postrider/lib/table"
)

const (
	// maxDepth is how many aliases and lists may lead from one to the next (Postfix).
	maxDepth = 100
	// maxTargets bounds the work and the memory of one expansion.
	maxTargets = 100000
)

// target is one thing that an alias or a .forward stands for in the end: an address,
// which may be the mailbox of a user here, a command, or a file.
type target struct {
	kind    table.TargetKind
	address mail.Address // of a command or file: by which it is found again
	here    bool         // it is the mailbox of user
	direct  bool         // past his .forward
	user    string
	text    string       // of a command or file
	by      string       // what names the command or file: alias, forward or include
	uid     uint32       // whose rights it has; root's mean default_privs
	sender  mail.Address // the envelope sender: that of the message, or the owner of a list
}

// member is how a message that is sent on names a target that has no address of its own.
func (t *target) member() uint64 {
	switch {
	case t.here && t.direct:
		return mail.MemberMailbox
	case t.kind == table.TargetAddress:
		return 0
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %d %s", t.kind, t.by, t.uid, t.text)
	return h.Sum64() | 1<<63 // never 0 or MemberMailbox
}

// expansion follows the aliases of one recipient.
type expansion struct {
	*site
	ctx     context.Context
	service string       // the transport that leads here
	of      mail.Address // the recipient
	warnf   func(format string, args ...any)

	targets []target
	path    []string            // the aliases and lists that led here
	seen    map[target]struct{} // targets and, by user alone, expanded names; bounded by duplicate_filter_limit
	steps   int
}

// source is what names targets.
type source struct {
	key  string // for the log, and for the loop that it may be in
	by   string // alias, forward or include
	uid  uint32 // whose rights its commands and files have
	self string // of a .forward: its user, who stands there for his mailbox
	ext  string // with its delimiter, to be put behind the users of addresses
}

// name adds what a local part, in lower case, stands for: an alias what is on its
// right-hand side, anything else the mailbox of that name. An error is *failure.
func (e *expansion) name(local, domain string, sender mail.Address) error {
	keys := []string{local}
	if user := e.user(local); user != local {
		keys = append(keys, user)
	}
	for i, key := range keys {
		if n := len(e.path); n > 0 && e.path[n-1] == key {
			continue // an alias that names itself means the mailbox
		}
		value, uid, ok, err := e.alias(e.ctx, keys[i:i+1])
		if err != nil {
			e.warn("", "alias database unavailable: %v", err)
			return &failure{deferred("4.3.0", "alias database unavailable")}
		}
		if !ok {
			continue
		}
		if slices.Contains(e.path, key) || len(e.path) >= maxDepth {
			return &failure{bounced("5.4.6", "alias database loop for "+key)}
		}
		src := source{key: key, by: "alias", uid: uid}
		if i > 0 && slices.Contains(e.keep, "alias") {
			src.ext = local[len(key):]
		}
		return e.expandAlias(src, value, sender)
	}
	e.add(target{address: mail.Address(local + "@" + domain), here: true, user: e.user(local), sender: sender})
	return nil
}

// alias looks a name up in alias_maps; uid is the owner of the table that has it.
func (s *site) alias(ctx context.Context, keys []string) (value string, uid uint32, ok bool, err error) {
	for _, t := range s.aliases {
		if value, ok, err = t.maps.First(ctx, keys); ok || err != nil {
			return value, t.uid, ok, err
		}
	}
	return "", 0, false, nil
}

// expandAlias adds what is on the right-hand side of an alias.
func (e *expansion) expandAlias(src source, value string, sender mail.Address) error {
	sender, err := e.owner(src.key, sender)
	if err != nil {
		return err
	}
	if !e.first(target{user: src.key, sender: sender}) {
		return nil
	}
	list, err := table.ParseTargets(value)
	if err != nil || len(list) == 0 {
		e.warn(src.key, "alias %s: cannot be understood: %q", src.key, value)
		return &failure{deferred("4.3.5", "alias "+src.key+" cannot be understood")}
	}
	return e.list(src, list, sender)
}

// list adds targets.
func (e *expansion) list(src source, list []table.Target, sender mail.Address) error {
	e.path = append(e.path, src.key)
	for _, t := range list {
		if e.steps++; e.steps > maxTargets {
			e.warn(src.key, "alias %s: expands to more than %d targets", e.path[0], maxTargets)
			return &failure{deferred("4.3.5", fmt.Sprintf("alias %s expands to more than %d targets", e.path[0], maxTargets))}
		}
		var err error
		switch t.Kind {
		case table.TargetAddress:
			err = e.address(src, t.Text, sender)
		case table.TargetInclude:
			err = e.include(src, t.Text, sender)
		default:
			e.add(target{kind: t.Kind, text: t.Text, by: src.by, uid: src.uid, address: e.of, sender: sender})
		}
		if err != nil {
			return err
		}
	}
	e.path = e.path[:len(e.path)-1]
	return nil
}

// include adds what is in a file, which is read with the rights that its commands would
// have, and names as many as it likes.
func (e *expansion) include(src source, path string, sender mail.Address) error {
	if slices.Contains(e.path, path) || len(e.path) >= maxDepth {
		return &failure{bounced("5.4.6", "mailing list loop for "+path)}
	}
	if !e.first(target{text: path, sender: sender}) {
		return nil
	}
	a, err := e.rights(src.uid)
	if err != nil {
		return err
	}
	x := perform(a, &job{Read: path}, nil)
	if !x.Found {
		e.warn(path, "%s", x.Status.Text)
		return &failure{x.Status}
	}
	list, err := table.ParseTargetLines(x.Text)
	if err != nil {
		e.warn(path, "include file %s: %v", path, err)
		return &failure{deferred("4.3.5", "include file "+path+" cannot be understood")}
	}
	if src.self == "" {
		src.uid = x.Owner
	}
	src.key, src.by = path, "include"
	return e.list(src, list, sender)
}

// address adds an address: what is delivered here is followed on. A backslash before it
// means the mailbox, past aliases and .forward.
func (e *expansion) address(src source, text string, sender mail.Address) error {
	plain, direct := strings.CutPrefix(text, `\`)
	a := mail.Address(plain)
	if src.ext != "" {
		if a = e.resolver.Rewrite(a); a.Local() != "" && !strings.Contains(a.Local(), src.ext) {
			a = mail.Address(a.Local() + src.ext + "@" + a.Domain())
		}
	}
	rt, err := e.resolver.Resolve(e.ctx, sender, a)
	if err != nil {
		e.warn("", "%v", err)
		return &failure{deferred("4.3.0", "address lookup failure")}
	}
	if rt.Bad != nil {
		e.add(target{address: e.resolver.Rewrite(a), sender: sender}) // bounced by itself
		return nil
	}
	if rt.Class != address.Local || rt.Transport != e.service {
		e.add(target{address: rt.Recipient, sender: sender})
		return nil
	}
	local := strings.ToLower(rt.Recipient.Local())
	if direct || src.self != "" && e.user(local) == src.self {
		e.add(target{address: rt.Recipient, here: true, direct: direct || src.self != "", user: e.user(local), sender: sender})
		return nil
	}
	return e.name(local, rt.Recipient.Domain(), sender)
}

// owner is the sender of what goes to a list: its owner-alias, if there is one. A
// report stays one, so that nothing ever answers it.
func (e *expansion) owner(key string, sender mail.Address) (mail.Address, error) {
	if sender == "" || strings.HasPrefix(key, "owner-") {
		return sender, nil
	}
	owner := "owner-" + key
	value, _, ok, err := e.alias(e.ctx, []string{owner})
	if err != nil {
		return "", &failure{deferred("4.3.0", "alias database unavailable")}
	}
	if !ok {
		return sender, nil
	}
	if e.expandOwner {
		if list, err := table.ParseTargets(value); err == nil && len(list) == 1 && list[0].Kind == table.TargetAddress {
			owner = list[0].Text
		}
	}
	return e.resolver.Rewrite(mail.Address(owner)), nil
}

// rights is the account whose rights a command, file or list has: the owner's of what
// names it, or default_privs instead of root. nil are our own, when there is one owner of
// everything. An error is *failure.
func (s *site) rights(uid uint32) (*account, error) {
	switch {
	case !s.root:
		return nil, nil
	case s.noUsers != nil:
		return nil, &failure{deferred("4.3.0", "user database unavailable")}
	case uid == 0 && s.nobody == nil:
		return nil, &failure{deferred("4.3.5", "default_privs names no user but root")}
	case uid == 0:
		return s.nobody, nil
	}
	a := byUID(s.accounts, uid)
	if a == nil {
		return nil, &failure{deferred("4.3.0", fmt.Sprintf("cannot find the user with uid %d, who owns the alias or list", uid))}
	}
	return a, nil
}

// add adds a target unless it is there.
func (e *expansion) add(t target) {
	key := t
	if key.address = t.address.Fold(); t.kind == table.TargetAddress {
		key = target{address: key.address, direct: t.direct, sender: t.sender}
	}
	if e.first(key) {
		e.targets = append(e.targets, t)
	}
}

// first says whether t is met for the first time.
func (e *expansion) first(t target) bool {
	if _, ok := e.seen[t]; ok {
		return false
	}
	if e.filterLimit == 0 || len(e.seen) < e.filterLimit {
		if e.seen == nil {
			e.seen = map[target]struct{}{}
		}
		e.seen[t] = struct{}{}
	}
	return true
}

// warn tells the operator, of each alias once.
func (e *expansion) warn(key, format string, args ...any) {
	if key != "" {
		if _, told := e.warned.LoadOrStore(key, true); told {
			return
		}
	}
	e.warnf(format, args...)
}
