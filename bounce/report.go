package bounce

import (
	"io"
	"strconv"
	"strings"
	"time"

	"postrider/lib/agent"
	"postrider/lib/header"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

// report is one message to one address about recipients of a message of the queue.
type report struct {
	set  *settings
	r    *agent.Request
	kind kind

	recipients []int // places in r.Recipients, rising
	left       map[int]struct{}
	replace    bool // the report takes the recipients over

	from, to    mail.Address // of the envelope
	postmaster  bool         // without the explanations
	headersOnly bool         // of the original
	orig        original

	id   mail.QueueID // the report's own
	made time.Time
}

// whole says whether all of the original goes back.
func (rep *report) whole() bool {
	return !rep.headersOnly && rep.r.Content.Size() <= rep.set.sizeLimit
}

// eightBit says whether the report has bytes above 127.
func (rep *report) eightBit() bool {
	return rep.r.UTF8 || rep.orig.eightHeader || rep.whole() && rep.orig.eightBody || rep.eightText()
}

// eightText says whether the explanation has bytes above 127.
func (rep *report) eightText() bool { return !rep.postmaster && eight([]byte(rep.template().Text)) }

// write writes header and body, lines ended by CRLF. The memory it takes does not
// grow with the number of recipients. Errors are those of w.
func (rep *report) write(w io.Writer) error {
	l := &lines{w: w, utf8: rep.r.UTF8}
	rep.header(l)
	rep.notification(l)
	rep.status(l)
	rep.original(l)
	l.line("")
	l.line("--" + rep.boundary() + "--")
	return l.flush()
}

// boundary is Postfix's: nobody could know it when the original was written.
func (rep *report) boundary() string {
	return string(rep.r.Queue) + "." + strconv.FormatInt(rep.made.Unix(), 10) + "/" + rep.set.hostname
}

func (rep *report) header(l *lines) {
	date := header.Date(rep.made)
	l.line("Received: by " + rep.set.hostname + " (" + rep.set.mailName + ")")
	l.line("\tid " + string(rep.id) + "; " + date)
	l.line("Date: " + date)
	l.field("From", mailbox(rep.template().From))
	l.field("Subject", rep.subject())
	l.field("To", rep.to.External())
	if rep.postmaster {
		l.line("Auto-Submitted: auto-generated")
	} else {
		l.line("Auto-Submitted: auto-replied")
	}
	l.line("MIME-Version: 1.0")
	l.line("Content-Type: multipart/report; report-type=" + rep.statusType() + ";")
	l.line("\tboundary=\"" + rep.boundary() + "\"")
	if rep.eightBit() {
		l.line("Content-Transfer-Encoding: 8bit")
	}
	l.line("")
	l.line("This is a MIME-encapsulated message.")
}

// part begins a part of the report.
func (rep *report) part(l *lines, description, typ string, eightBit bool) {
	l.line("")
	l.line("--" + rep.boundary())
	l.line("Content-Description: " + description)
	l.line("Content-Type: " + typ)
	if eightBit {
		l.line("Content-Transfer-Encoding: 8bit")
	}
	l.line("")
}

// notification is the part for people.
func (rep *report) notification(l *lines) {
	charset := rep.template().Charset
	if rep.r.UTF8 {
		charset = "utf-8"
	}
	rep.part(l, "Notification", "text/plain; charset="+charset, rep.r.UTF8 || rep.eightText())
	if !rep.postmaster {
		for s := range strings.Lines(rep.template().Text) {
			l.line(strings.TrimSuffix(s, "\n"))
		}
	}
	for _, i := range rep.recipients {
		rc := &rep.r.Recipients[i]
		who := "<" + rc.Address.External() + ">"
		if rc.Original != "" && !sameAddress(rc.Original, rc.Address) {
			who += " (expanded from <" + rc.Original.External() + ">)"
		}
		l.line("")
		l.wrap(who+": "+rep.words(rc), 79)
	}
}

// words say what became of a recipient, and by whom mail has arrived, or would.
func (rep *report) words(rc *proto.DeliverRecipient) string {
	text := rc.Status.Text
	switch {
	case rep.kind < delivered, rc.Status.Class != mail.Sent:
	case rc.Expanded && text == "alias expanded": // a virtual alias: nobody delivers there
	case rc.Expanded:
		return "delivery via local: alias expanded"
	case rc.Status.RemoteMTA != "":
		return "delivery via " + rc.Status.RemoteMTA + ": " + text
	case rep.kind == delivered:
		return "delivery via local: " + text
	}
	return text
}

// mailbox writes "address (name)" of a template as header_from_format = standard wants it.
func mailbox(from string) string {
	address, name, ok := strings.Cut(from, " (")
	if name, end := strings.CutSuffix(name, ")"); ok && end && !strings.ContainsAny(address, " <\"") && !strings.ContainsAny(name, "()<>@,;:\\\"") {
		return name + " <" + address + ">"
	}
	return from
}

// sender is whom a report shows as the sender of the message: as in Postfix, an address that
// people can make something of also when there is none.
func (rep *report) sender() mail.Address {
	if rep.r.Sender == "" {
		return mail.Address("MAILER-DAEMON@" + rep.set.origin)
	}
	return rep.r.Sender
}

// statusType is the subtype of the second part (RFC 3464; RFC 6533 for SMTPUTF8).
func (rep *report) statusType() string {
	if rep.r.UTF8 {
		return "global-delivery-status"
	}
	return "delivery-status"
}

// status is the part for programs (RFC 3464).
func (rep *report) status(l *lines) {
	r := rep.r
	rep.part(l, "Delivery report", "message/"+rep.statusType(), r.UTF8)
	l.line("Reporting-MTA: dns; " + rep.set.hostname)
	if r.EnvID != "" {
		l.field("Original-Envelope-Id", plain(r.EnvID))
	}
	l.field("X-Postfix-Queue-ID", string(r.Queue))
	l.field("X-Postfix-Sender", l.address(rep.sender()))
	if !r.Arrival.IsZero() {
		l.line("Arrival-Date: " + header.Date(r.Arrival))
	}
	for _, i := range rep.recipients {
		rep.recipient(l, &r.Recipients[i])
	}
}

func (rep *report) recipient(l *lines, rc *proto.DeliverRecipient) {
	st := &rc.Status
	l.line("")
	l.field("Final-Recipient", l.address(rc.Address))
	switch {
	case rc.ORCPT != "":
		l.field("Original-Recipient", plain(rc.ORCPT))
	case rc.Original != "": // as it was given (RFC 3461, 5.2.1 (d))
		l.field("Original-Recipient", strings.Replace(l.address(rc.Original), "; ", ";", 1))
	default:
		l.field("Original-Recipient", strings.Replace(l.address(rc.Address), "; ", ";", 1))
	}
	l.line("Action: " + rep.action(rc))
	l.line("Status: " + rep.code(st.DSN))
	if st.RemoteMTA != "" {
		l.field("Remote-MTA", "dns; "+st.RemoteMTA)
	}
	if st.Diag != "" {
		l.text("Diagnostic-Code", "smtp; "+st.Diag)
	} else if st.Text != "" {
		l.text("Diagnostic-Code", "X-Postfix; "+rep.words(rc))
	}
	if rep.kind == delayed && !rep.r.Arrival.IsZero() {
		l.line("Will-Retry-Until: " + header.Date(rep.r.Arrival.Add(rep.set.lifetime)))
	}
}

// action is what became of a recipient (RFC 3464, 2.3.3), or would (Postfix).
func (rep *report) action(rc *proto.DeliverRecipient) string {
	st := &rc.Status
	switch {
	case rep.kind == verified && st.Class == mail.Sent:
		return "deliverable"
	case rep.kind == verified:
		return "undeliverable"
	case rep.kind == failed, rep.kind == recorded && st.Class == mail.Bounced:
		return "failed"
	case rep.kind == delayed, rep.kind == recorded && st.Class == mail.Deferred:
		return "delayed"
	case rc.Expanded:
		return "expanded"
	case st.RemoteMTA != "":
		return "relayed" // to one that says nothing of its own reports
	}
	return "delivered"
}

// plain decodes a parameter that came as xtext (RFC 3461, 4).
func plain(xtext string) string {
	text, _ := mail.Unxtext(xtext)
	return text
}

// code is the status code to report: mail that failed because its time was up has
// that of its last deferral, as in Postfix; what is no code becomes the general one
// (RFC 3463).
func (rep *report) code(dsn string) string {
	class, rest, _ := strings.Cut(dsn, ".")
	subject, detail, _ := strings.Cut(rest, ".")
	if (class == "2" || class == "4" || class == "5") && number(subject) && number(detail) {
		return dsn
	}
	return [...]string{failed: "5.0.0", delayed: "4.0.0", delivered: "2.0.0", verified: "2.0.0", recorded: "2.0.0"}[rep.kind]
}

func number(s string) bool {
	return len(s) >= 1 && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
}

// original is the part that gives back what was sent.
func (rep *report) original(l *lines) {
	un := "Undelivered "
	if rep.kind >= delivered {
		un = ""
	}
	typ := "message/rfc822"
	size, eight := rep.r.Content.Size(), rep.orig.eightHeader || rep.orig.eightBody
	switch {
	case rep.whole() && rep.r.UTF8:
		typ = "message/global"
	case rep.whole():
	case rep.r.UTF8:
		typ = "message/global-headers"
	default:
		typ = "text/rfc822-headers"
	}
	if rep.whole() {
		rep.part(l, un+"Message", typ, eight)
	} else {
		rep.part(l, un+"Message Headers", typ, rep.orig.eightHeader)
		size = rep.orig.header
	}
	l.field("Return-Path", "<"+rep.sender().External()+">")
	l.copy(&rep.r.Content, size)
}
