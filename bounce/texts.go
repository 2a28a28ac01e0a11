package bounce

import (
	"strconv"
	"time"

	"postrider/lib/maillog"
)

// kind is what a report tells of.
type kind uint8

const (
	failed kind = iota
	delayed
	delivered
)

// subject is that of Postfix.
func (rep *report) subject() string {
	switch {
	case rep.kind == delivered:
		return "Successful Mail Delivery Report"
	case rep.kind == delayed && rep.postmaster:
		return "Postmaster Warning: Delayed Mail"
	case rep.kind == delayed:
		return "Delayed Mail (still being retried)"
	case rep.postmaster:
		return "Postmaster Copy: Undelivered Mail"
	}
	return "Undelivered Mail Returned to Sender"
}

func (rep *report) notice() maillog.NoticeKind {
	switch {
	case rep.kind == delivered:
		return maillog.SenderSuccess
	case rep.kind == delayed && rep.postmaster:
		return maillog.PostmasterDelay
	case rep.kind == delayed:
		return maillog.SenderDelay
	case rep.postmaster:
		return maillog.PostmasterBounce
	}
	return maillog.SenderBounce
}

const help = `
For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system
`

// explain is what the sender reads first; the postmaster knows it. Lines end with
// "\n".
func (rep *report) explain() string {
	first := "This is the mail system at host " + rep.set.hostname + ".\n\n"
	switch rep.kind {
	case delivered:
		return first + `Your message was successfully delivered to the destination(s)
listed below. If the message was delivered to mailbox you will
receive no further notifications. Otherwise you may still receive
notifications of mail delivery errors from other systems.

                   The mail system
`
	case delayed:
		return first + `####################################################################
# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #
####################################################################

Your message could not be delivered for more than ` + units(rep.set.warnAfter, time.Hour) + ` hour(s).
It will be retried until it is ` + units(rep.set.lifetime, 24*time.Hour) + ` day(s) old.
` + help
	}
	return first + `I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.
` + help
}

// units rounds d to whole units, to the nearest.
func units(d, unit time.Duration) string {
	return strconv.FormatInt(int64((d+unit/2)/unit), 10)
}
