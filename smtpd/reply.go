package smtpd

import (
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/mail"
	"postrider/lib/maillog"
)

// reply is an answer to a command. The zero reply is none.
type reply struct {
	code int
	dsn  string // RFC 3463, or ""
	text string // LF between the lines of a long one
}

func (r reply) String() string {
	s := strconv.Itoa(r.code) + " "
	if r.dsn != "" {
		s += r.dsn + " "
	}
	return s + r.text
}

// greet sends the banner, or sends the client away.
func (f *front) greet() {
	f.identify()
	if n := f.set.perClient; n > 0 && f.crowd > n {
		if ok, err := f.set.access.trusted(f.addr); !ok || err != nil {
			f.log.Warnf("Connection concurrency limit exceeded: %d from %s[%s] for service %s", f.crowd, f.client.Name, f.client.Addr, f.service.name)
			f.shut(reply{421, "4.7.0", f.set.hostname + " Error: too many connections from " + f.client.Addr})
			return
		}
	}
	if f.set.tls.wrap {
		if !f.handshake() {
			return
		}
	} else if early := peek(f.raw); len(early) > 0 {
		f.pipelining(early)
		return
	}
	if !f.set.access.delay {
		c := f.check("CONNECT")
		if c.client() == refused {
			f.denied = true
			f.errors++
			f.wrong(c.answer)
			f.say(c.answer)
			return
		}
		f.ifPermit = c.ifPermit
	}
	f.put(reply{220, "", f.set.banner})
}

// pipelining sends a client away that does not wait where it must (RFC 2920, section
// 3.1): it is not listening, or its words are not all its own.
func (f *front) pipelining(early []byte) {
	f.log.Infof("improper command pipelining after %s from %s[%s]: %s", f.where, f.client.Name, f.client.Addr, early[:min(len(early), 100)])
	f.shut(reply{554, "5.5.0", "Error: SMTP protocol synchronization"})
}

// peek returns what the client has sent already, at most 100 bytes of it.
func peek(conn net.Conn) []byte {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	var b [100]byte
	n := 0
	raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return true // whatever there is: do not wait for more
	})
	if err != nil || n <= 0 {
		return nil
	}
	return append([]byte(nil), b[:n]...)
}

// begin counts a command in.
func (f *front) begin(v verb) {
	f.verb, f.where = v, verbNames[v]
	f.counts[v].total++
}

// finish replies to the command in hand and counts how it went.
func (f *front) finish(r reply) {
	if f.errors >= f.set.softErrors {
		f.pause(f.set.errorSleep)
	}
	switch {
	case r.code < 400:
		f.counts[f.verb].ok++
	case r != tooManyRecipients:
		f.errors++
	}
	f.wrong(r)
	if f.verb == rcptTo && f.tx != nil && r.code >= 400 {
		f.tx.refused++
	}
	f.say(r)
}

// say replies. A refusal with 421 or 521 (RFC 7504) ends the session.
func (f *front) say(r reply) {
	if r.code == 421 || r.code == 521 {
		f.shut(r)
		return
	}
	f.put(r)
}

// put writes a reply.
func (f *front) put(r reply) {
	f.out.Reply(r.code, r.dsn, r.text)
	if f.chat != nil {
		f.chat.Reply(r.code, r.dsn, r.text)
	}
}

// tooManyRecipients is no error of the client's, up to smtpd_recipient_overshoot_limit.
var tooManyRecipients = reply{452, "4.5.3", "Error: too many recipients"}

// pause waits, but not when the daemon is to end. Replies to earlier commands go out
// before.
func (f *front) pause(d time.Duration) {
	f.out.Flush()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-f.service.server.stopping:
	}
}

// refuse logs the refusal of a command that a client may want to hear explained.
func (f *front) refuse(stage string, r reply, to mail.Address) {
	e := maillog.Reject{Stage: stage, Client: f.client, Reply: r.String(), To: to}
	if f.tx != nil {
		e.From, e.Queue = f.tx.env.Sender, f.tx.env.ID
	}
	f.log.Event(e)
}

// tally is how often each command was given.
func (f *front) tally() []maillog.Count {
	var list []maillog.Count
	for v, c := range f.counts {
		if c.total > 0 {
			list = append(list, maillog.Count{Name: strings.ToLower(verbNames[v]), OK: c.ok, Total: c.total})
		}
	}
	return list
}
