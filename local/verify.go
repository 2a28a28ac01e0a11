package local

import (
	"errors"
	"strings"

	"postrider/lib/mail"
	"postrider/lib/table"
)

// maxShown bounds how much of what an alias stands for is reported, in bytes.
const maxShown = 500

// verify says what would become of mail for what a recipient stands for, in Postfix's
// words, and delivers nothing (sendmail -bv).
func (d *delivery) verify(list []target) mail.Status {
	if len(list) != 1 || !list[0].here {
		return sent("aliased to " + shown(list))
	}
	t := list[0]
	j, a, err := d.place(t)
	if errors.Is(err, errUnknown) {
		service, lookup := d.site.fallbackTransport.of(d.ctx, t.user)
		switch {
		case lookup != nil:
			err = lookup
		case service != "":
			st, _ := d.handOver(service, t)
			return st
		}
	}
	if err != nil {
		return statusOf(err)
	}
	if len(j.Forward) > 0 && !t.direct {
		x := perform(a, &job{Home: j.Home, Forward: j.Forward, UID: j.UID}, nil)
		if x.Found {
			e, err := d.forwarded(t, x)
			if err != nil {
				return statusOf(err)
			}
			return sent("forwarded to " + shown(e.targets))
		}
		if x.Status.DSN != "" {
			return x.Status
		}
	}
	switch {
	case j.Transport != "":
		st, _ := d.handOver(j.Transport, t)
		return st
	case j.Command != nil:
		return sent("delivers to command: " + d.site.mailboxCommand)
	case j.Maildir != nil:
		return sent("delivers to maildir")
	}
	return sent("delivers to mailbox")
}

// shown lists targets, as far as they fit into a line.
func shown(list []target) string {
	var b strings.Builder
	for i := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		if b.Len() > maxShown {
			b.WriteString("...")
			break
		}
		switch t := &list[i]; t.kind {
		case table.TargetAddress:
			b.WriteString(t.address.External())
		case table.TargetCommand:
			b.WriteString("|" + t.text)
		default:
			b.WriteString(t.text)
		}
	}
	return b.String()
}
