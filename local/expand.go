package local

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postrider/lib/address"
	"postrider/lib/mail"
	"postrider/lib/table"
)

const (
	// maxDepth is how many aliases may lead from one to the next (Postfix).
	maxDepth = 100
	// maxTargets bounds the work and the memory of one expansion.
	maxTargets = 100000
)

// target is one thing that an alias stands for in the end.
type target struct {
	address mail.Address
	here    bool // it is the mailbox of user
	user    string
	sender  mail.Address // the envelope sender: that of the message, or the owner of a list
}

// expansion follows the aliases of one recipient.
type expansion struct {
	*site
	ctx     context.Context
	service string // the transport that leads here
	warnf   func(format string, args ...any)

	targets []target
	path    []string            // the aliases that led here
	seen    map[target]struct{} // targets and, by user alone, expanded names; bounded by duplicate_filter_limit
	steps   int
}

// name adds what a local part, in lower case, stands for: an alias what is on its
// right-hand side, anything else the mailbox of that name. An error is *failure.
func (e *expansion) name(local, domain string, sender mail.Address) error {
	keys := []string{local}
	if user := e.user(local); user != local {
		keys = append(keys, user)
	}
	for _, key := range keys {
		if n := len(e.path); n > 0 && e.path[n-1] == key {
			continue // an alias that names itself means the mailbox
		}
		value, ok, err := e.aliases.Lookup(e.ctx, key)
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
		return e.alias(key, value, sender)
	}
	e.add(target{address: mail.Address(local + "@" + domain), here: true, user: e.user(local), sender: sender})
	return nil
}

// alias adds what is on the right-hand side of an alias.
func (e *expansion) alias(key, value string, sender mail.Address) error {
	sender, err := e.owner(key, sender)
	if err != nil {
		return err
	}
	if !e.first(target{user: key, sender: sender}) {
		return nil
	}
	list, err := table.ParseTargets(value)
	if err != nil || len(list) == 0 {
		e.warn(key, "alias %s: cannot be understood: %q", key, value)
		return &failure{deferred("4.3.5", "alias "+key+" cannot be understood")}
	}
	e.path = append(e.path, key)
	for _, t := range list {
		if e.steps++; e.steps > maxTargets {
			e.warn(key, "alias %s: expands to more than %d targets", e.path[0], maxTargets)
			return &failure{deferred("4.3.5", fmt.Sprintf("alias %s expands to more than %d targets", e.path[0], maxTargets))}
		}
		if t.Kind != table.TargetAddress {
			e.warn(key, "alias %s: |command, /file and :include: are not supported yet; its mail waits in the queue", key)
			return &failure{deferred("4.3.5", "alias "+key+" has a |command, /file or :include:, which are not supported yet")}
		}
		if err := e.address(mail.Address(strings.TrimPrefix(t.Text, `\`)), sender); err != nil {
			return err
		}
	}
	e.path = e.path[:len(e.path)-1]
	return nil
}

// address adds an address: what is delivered here is followed on.
func (e *expansion) address(a, sender mail.Address) error {
	rt, err := e.resolver.Resolve(e.ctx, sender, a)
	if err != nil {
		e.warn("", "%v", err)
		return &failure{deferred("4.3.0", "address lookup failure")}
	}
	if rt.Bad != nil {
		e.add(target{address: e.resolver.Rewrite(a), sender: sender}) // bounced by itself
		return nil
	}
	if rt.Class == address.Local && rt.Transport == e.service {
		return e.name(strings.ToLower(rt.Recipient.Local()), rt.Recipient.Domain(), sender)
	}
	e.add(target{address: rt.Recipient, sender: sender})
	return nil
}

// owner is the sender of what goes to a list: its owner-alias, if there is one. A
// report stays one, so that nothing ever answers it.
func (e *expansion) owner(key string, sender mail.Address) (mail.Address, error) {
	if sender == "" || strings.HasPrefix(key, "owner-") {
		return sender, nil
	}
	owner := "owner-" + key
	value, ok, err := e.aliases.Lookup(e.ctx, owner)
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

// add adds a target unless it is there.
func (e *expansion) add(t target) {
	if e.first(target{address: t.address.Fold(), sender: t.sender}) {
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
