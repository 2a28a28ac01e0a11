package local

import (
	"errors"

	"golang.org/x/sys/unix"

	"postrider/lib/agent"
	"postrider/lib/mail"
)

// failure is an error that says what becomes of the mail.
type failure struct{ status mail.Status }

func (f *failure) Error() string { return f.status.Text }

// statusOf is what an error means for the mail: it is deferred unless the error says
// that it can never be delivered.
func statusOf(err error) mail.Status {
	var f *failure
	switch {
	case errors.As(err, &f):
		return f.status
	case errors.Is(err, agent.ErrContent):
		return agent.ContentStatus
	}
	return mailboxStatus(kindOf(err), err.Error())
}

// kind is what sort of error hit a mailbox; it travels from the helper.
type kind byte

const (
	kindNone   kind = 'k' // none: delivered
	kindQuota  kind = 'q' // the user's share of the disk is used up
	kindSystem kind = 's' // the machine is short of something
	kindOther  kind = 'o' // no permission, an error of the disk, anything else
)

func kindOf(err error) kind {
	switch {
	case err == nil:
		return kindNone
	case errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		return kindQuota
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		return kindSystem
	}
	return kindOther
}

// mailboxStatus is the outcome of a delivery to a mailbox (RFC 3463, 3.3 and 3.4).
func mailboxStatus(k kind, text string) mail.Status {
	switch k {
	case kindNone:
		return sent("delivered to maildir")
	case kindQuota:
		return deferred("4.2.2", "maildir delivery failed: "+text)
	case kindSystem:
		return deferred("4.3.0", "maildir delivery failed: "+text)
	}
	return deferred("4.2.0", "maildir delivery failed: "+text)
}
