package smtpd

import (
	"bytes"
	"unicode/utf8"

	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/transcript"
)

// verb is a command, in the order in which the log counts them.
type verb uint8

const (
	helo verb = iota
	ehlo
	startTLS
	auth
	mailFrom
	rcptTo
	data
	rset
	noop
	vrfy
	quit
	help
	unknown
	verbs
)

// verbNames are the commands; the last stands for all that are none.
var verbNames = [verbs]string{"HELO", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "QUIT", "HELP", "UNKNOWN"}

// mustBeLast are the commands that end a pipelined group (RFC 2920, section 3.1).
var mustBeLast = [verbs]bool{helo: true, ehlo: true, startTLS: true, auth: true, data: true, noop: true, vrfy: true}

// beforeTLS are the commands that need no TLS where everything else does (RFC 3207, section 4).
var beforeTLS = [verbs]bool{helo: true, ehlo: true, startTLS: true, noop: true, quit: true, help: true, unknown: true}

// isJunk are the commands that are counted between messages (smtpd_junk_command_limit).
var isJunk = [verbs]bool{helo: true, ehlo: true, rset: true, noop: true, vrfy: true, help: true}

// command carries out a command line.
func (f *front) command(line []byte) {
	line = trim(line)
	word, arg := cutWord(line)
	v := unknown
	for i, name := range verbNames[:unknown] {
		if fold(word, name) {
			v = verb(i)
			break
		}
	}
	f.begin(v)
	f.hear(v, line)
	if rest := f.in.Buffered(); len(rest) > 0 && (mustBeLast[v] || f.client.Protocol != "ESMTP" && v != quit) {
		if v != unknown || !alien(line, word) {
			f.pipelining(rest)
			return
		}
	}
	if isJunk[v] {
		if f.junk++; f.junk > f.set.junkLimit {
			f.errors++
		}
	}
	switch {
	case hasControl(line) && line[0] != tlsHandshake, len(line) == 0:
		f.finish(reply{500, "5.5.2", "Error: bad syntax"})
		return
	case !utf8.Valid(line) && line[0] != tlsHandshake:
		f.finish(reply{500, "5.5.2", "Error: bad UTF-8 syntax"})
		return
	case v == unknown && alien(line, word):
		f.log.Warnf("non-SMTP command from %s[%s]: %.100s", f.client.Name, f.client.Addr, line)
		f.shut(reply{221, "2.7.0", "Error: I can break rules, too. Goodbye."})
		return
	}
	if f.denied && v != quit {
		f.finish(reply{503, "5.7.0", "Error: access denied for " + f.clientName()})
		return
	}
	if f.set.tls.level == "encrypt" && f.tls == nil && !beforeTLS[v] {
		f.finish(reply{530, "5.7.0", "Must issue a STARTTLS command first"})
		return
	}
	var r reply
	switch v {
	case startTLS:
		r = f.startTLS(arg)
	case auth:
		r = f.auth(arg)
	case helo, ehlo:
		r = f.hello(v, arg)
	case mailFrom:
		r = f.mail(arg)
	case rcptTo:
		r = f.rcpt(arg)
	case data:
		r = f.data(arg)
	case rset:
		r = f.reset(arg)
	case quit:
		f.finish(reply{221, "2.0.0", "Bye"})
		f.closed = true
	case noop:
		r = reply{250, "2.0.0", "Ok"}
	case vrfy:
		r = f.vrfy(arg)
	case help:
		r = reply{214, "2.0.0", "Commands: HELO EHLO STARTTLS AUTH MAIL RCPT DATA RSET NOOP VRFY QUIT HELP"}
	default:
		r = reply{500, "5.5.2", "Error: command not recognized"}
	}
	if r.code != 0 {
		f.finish(r)
	}
}

// tlsHandshake is the first byte of a client that speaks TLS where it should not.
const tlsHandshake = 0x16

// alien says whether a line is none of SMTP's: another protocol, or a message's header
// (smtpd_forbidden_commands).
func alien(line, word []byte) bool {
	if len(line) == 0 {
		return false
	}
	if c := line[0] | 0x20; c < 'a' || c > 'z' {
		return true
	}
	if i := bytes.IndexByte(word, ':'); i > 0 {
		return true
	}
	return fold(word, "CONNECT") || fold(word, "GET") || fold(word, "POST")
}

func hasControl(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

// reset is RSET.
func (f *front) reset(arg []byte) reply {
	if len(arg) > 0 {
		return reply{501, "5.5.4", "Syntax: RSET"}
	}
	f.endTransaction()
	return reply{250, "2.0.0", "Ok"}
}

// hello is HELO and EHLO. They end a transaction, like RSET (RFC 5321, 4.1.4).
func (f *front) hello(v verb, arg []byte) reply {
	name := verbNames[v]
	if len(arg) == 0 {
		return reply{501, "", "Syntax: " + name + " hostname"}
	}
	b := bytes.Clone(arg)
	for i, c := range b {
		if bytes.IndexByte([]byte(" \t<>()\\\";@"), c) >= 0 {
			b[i] = '?' // it goes into headers and the log
		}
	}
	before, ifPermit := f.client.Helo, f.ifPermit
	f.client.Helo = string(b)
	if !f.set.access.delay {
		c := f.check(name)
		if c.helo() == refused {
			f.client.Helo = before
			return c.answer
		}
		ifPermit = c.ifPermit
	}
	f.ifPermit = ifPermit
	f.endTransaction()
	if v == ehlo {
		f.client.Protocol = "ESMTP"
		return reply{250, "", f.offer()}
	}
	f.client.Protocol = "SMTP"
	return reply{250, "", f.set.hostname}
}

func (f *front) mail(arg []byte) reply {
	if f.client.Helo == "" && f.set.heloRequired {
		return reply{503, "5.5.1", "Error: send HELO/EHLO first"}
	}
	if f.tx != nil {
		return reply{503, "5.5.1", "Error: nested MAIL command"}
	}
	if len(arg) < 5 || !fold(arg[:5], "FROM:") {
		return reply{501, "5.5.4", "Syntax: MAIL FROM:<address>"}
	}
	p, params, ok := cutPath(arg[5:], f.set.strictPaths)
	if !ok {
		return reply{501, "5.5.4", "Syntax: MAIL FROM:<address>"}
	}
	if r := f.params.parse(params); r.code != 0 {
		return r
	}
	if f.params.hasPriority && !f.set.governed {
		return unsupported([]byte("MT-PRIORITY"))
	}
	if w := f.params.verpWord; w != nil {
		f.params.verpWord = nil // of the line that is read over
		if r := f.wantsVERP(w, len(p.text) == 0); r.code != 0 {
			return r
		}
	}
	if n := f.set.sizeLimit; n > 0 && f.params.size > n {
		f.blame = transcript.Policy
		r := reply{552, "5.3.4", "Message size exceeds fixed limit"}
		f.log.Event(maillog.Reject{Stage: "MAIL", Client: f.client, Reply: r.String(), From: mail.Address(p.text)})
		return r
	}
	if !p.ascii && !f.params.utf8 {
		return reply{553, "5.6.7", "Must declare SMTPUTF8 to send unicode address"}
	}
	return f.beginMail(p)
}

func (f *front) rcpt(arg []byte) reply {
	if f.tx == nil {
		return reply{503, "5.5.1", "Error: need MAIL command"}
	}
	if len(arg) < 3 || !fold(arg[:3], "TO:") {
		return reply{501, "5.5.4", "Syntax: RCPT TO:<address>"}
	}
	p, params, ok := cutPath(arg[3:], f.set.strictPaths)
	switch {
	case !ok:
		return reply{501, "5.5.4", "Syntax: RCPT TO:<address>"}
	case len(p.text) == 0:
		return reply{501, "5.1.3", "Bad recipient address syntax"}
	case !p.ascii && !f.tx.env.UTF8:
		return reply{553, "5.6.7", "Must declare SMTPUTF8 to send unicode address"}
	}
	if r := f.rcptParams.parse(params); r.code != 0 {
		return r
	}
	return f.addRecipient(p)
}

func (f *front) data(arg []byte) reply {
	switch {
	case len(arg) > 0:
		return reply{501, "5.5.4", "Syntax: DATA"}
	case f.tx != nil && len(f.tx.env.Recipients) == 0 && f.tx.refused > 0:
		return reply{554, "5.5.1", "Error: no valid recipients"}
	case f.tx == nil || len(f.tx.env.Recipients) == 0:
		return reply{503, "5.5.1", "Error: need RCPT command"}
	}
	if len(f.set.access.lists[atData]) > 0 {
		c := f.check("DATA")
		if c.message(); c.command(atData, "DATA", dataClass) == refused {
			return c.answer
		}
	}
	f.put(reply{354, "", "End data with <CR><LF>.<CR><LF>"})
	r := f.content()
	f.endTransaction()
	return r
}

// vrfy tells nothing (RFC 5321, section 3.5.3).
func (f *front) vrfy(arg []byte) reply {
	switch {
	case f.set.noVrfy:
		return reply{502, "5.5.1", "VRFY command is disabled"}
	case len(arg) == 0:
		return reply{501, "5.5.4", "Syntax: VRFY address"}
	}
	return reply{252, "2.0.0", string(arg)}
}
