package bounce

import "postrider/lib/maillog"

// kind is what a report tells of.
type kind uint8

const (
	failed kind = iota
	delayed
	delivered
	verified // what would become of mail (sendmail -bv)
)

func (rep *report) template() *template { return &rep.set.templates[rep.kind] }

// subject is the template's.
func (rep *report) subject() string {
	if rep.postmaster {
		return rep.template().postmaster
	}
	return rep.template().subject
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

// defaultTexts are Postfix's, as a bounce_template_file has them.
const defaultTexts = `
failure_template = <<EOF
Charset: us-ascii
From: MAILER-DAEMON (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
Postmaster-Subject: Postmaster Copy: Undelivered Mail

This is the mail system at host $myhostname.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system
EOF

delay_template = <<EOF
Charset: us-ascii
From: MAILER-DAEMON (Mail Delivery System)
Subject: Delayed Mail (still being retried)
Postmaster-Subject: Postmaster Warning: Delayed Mail

This is the mail system at host $myhostname.

####################################################################
# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #
####################################################################

Your message could not be delivered for more than $delay_warning_time_hours hour(s).
It will be retried until it is $maximal_queue_lifetime_days day(s) old.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system
EOF

success_template = <<EOF
Charset: us-ascii
From: MAILER-DAEMON (Mail Delivery System)
Subject: Successful Mail Delivery Report

This is the mail system at host $myhostname.

Your message was successfully delivered to the destination(s)
listed below. If the message was delivered to mailbox you will
receive no further notifications. Otherwise you may still receive
notifications of mail delivery errors from other systems.

                   The mail system
EOF

verify_template = <<EOF
Charset: us-ascii
From: MAILER-DAEMON (Mail Delivery System)
Subject: Mail Delivery Status Report

This is the mail system at host $myhostname.

Enclosed is the mail delivery report that you requested.

                   The mail system
EOF
`
