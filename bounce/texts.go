package bounce

import (
	"postrider/lib/maillog"
	"postrider/lib/notice"
)

// kind is what a report tells of.
type kind uint8

const ( // in the order of notice.Names
	failed kind = iota
	delayed
	delivered
	verified // what would become of mail (sendmail -bv)
	recorded // what became of it at the first attempt (sendmail -v)
)

func (rep *report) template() *notice.Template {
	return &rep.set.templates[min(rep.kind, verified)]
}

// subject is the template's.
func (rep *report) subject() string {
	if rep.postmaster {
		return rep.template().Postmaster
	}
	return rep.template().Subject
}

func (rep *report) notice() maillog.NoticeKind {
	switch {
	case rep.kind >= delivered:
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
