package main

import (
	"errors"
	"fmt"
	"strings"
)

// The recipients of the story.
const (
	toHealthy = "bob@healthy.example"
	toSlow    = "carol@slow.example"
	toDown    = "dave@down.example"
	toNobody  = "nobody@healthy.example"
)

// story is what the demo shows, from the first message to the empty queue.
func (w *world) story() error {
	for _, act := range []func() error{w.outward, w.inward, w.held, w.comesBack} {
		if err := act(); err != nil {
			return err
		}
	}
	return nil
}

// outward sends to the three places at once.
func (w *world) outward() error {
	title("Mail to three places: %s is healthy, %s waits %v before it\n   answers, and at %s nobody listens",
		w.healthy.domain, w.slow.domain, w.slow.wait, w.down.domain)
	for _, m := range [][2]string{
		{toHealthy, "to the healthy one"}, {toSlow, "to the slow one"},
		{toDown, "to the one that is down"}, {toDown, "a second one, to be held"},
	} {
		if err := w.send(m[0], m[1]); err != nil {
			return err
		}
	}
	if err := await("mail to "+toHealthy+" arrives", func() bool { return w.arrived(toHealthy) }); err != nil {
		return err
	}
	if err := await("mail to "+toDown+" is deferred", func() bool { return len(w.in("deferred", toDown)) == 2 }); err != nil {
		return err
	}
	note("A moment later: \"*\" is being delivered, nothing behind the id is deferred.")
	if err := w.run("", "postqueue", "-p"); err != nil {
		return err
	}
	if err := await("mail to "+toSlow+" arrives", func() bool { return w.arrived(toSlow) }); err != nil {
		return err
	}
	if err := await("mail to "+toSlow+" leaves the queue", func() bool { return len(w.in("active", toSlow)) == 0 }); err != nil {
		return err
	}
	w.showLog(false)
	return nil
}

// inward delivers on this machine: from sendmail, and a report of failure.
func (w *world) inward() error {
	title("Mail for %s@%s, by sendmail; and one that cannot be delivered", person, host)
	const line = "Submitted on standard input."
	if err := w.run("Subject: by sendmail\n\n"+line+"\n", "sendmail", "-f", "operator@"+host, person+"@"+host); err != nil {
		return err
	}
	if err := w.send(toNobody, "to a user who is not there"); err != nil {
		return err
	}
	w.sent = w.sent[:len(w.sent)-1] // this one is to come back
	posted, reported := "", ""
	err := await("two messages in "+w.maildir(), func() bool {
		posted, reported = "", ""
		for _, m := range w.mailbox() {
			switch {
			case strings.Contains(m, line) && strings.Contains(m, "Subject: by sendmail\n"):
				posted = m
			case strings.Contains(m, "message/delivery-status") && strings.Contains(m, toNobody) && strings.Contains(m, "5.1.1"):
				reported = m
			}
		}
		return posted != "" && reported != ""
	})
	if err != nil {
		return err
	}
	w.showLog(false)
	note("Both are in the Maildir %s: the message, and the report (RFC 3464) with", w.maildir())
	for l := range strings.Lines(reported) {
		if strings.HasPrefix(l, "Final-Recipient:") || strings.HasPrefix(l, "Diagnostic-Code:") || strings.HasPrefix(l, "Status:") {
			fmt.Print("    ", l)
		}
	}
	if n := len(w.mailbox()); n != 2 {
		return fmt.Errorf("%d messages in %s, not 2", n, w.maildir())
	}
	return nil
}

// held puts one of the deferred messages on hold.
func (w *world) held() error {
	title("One of the two for %s is put on hold", toDown)
	id := w.heldID()
	if id == "" {
		return errors.New("nothing is deferred that could be held")
	}
	if err := w.run("", "postsuper", "-h", id); err != nil {
		return err
	}
	if ids := w.in("hold", toDown); len(ids) != 1 || ids[0] != id {
		return fmt.Errorf("on hold are %v, not %s", ids, id)
	}
	note("\"!\" is on hold.")
	return w.run("", "postqueue", "-p")
}

func (w *world) heldID() string {
	if ids := w.in("deferred", toDown); len(ids) == 2 {
		return ids[1]
	}
	return ""
}

// comesBack brings the dead destination up and flushes.
func (w *world) comesBack() error {
	title("%s comes up, and the operator flushes the queue: what is held stays", w.down.domain)
	if err := w.down.listen(); err != nil {
		return err
	}
	if err := w.run("", "postqueue", "-f"); err != nil {
		return err
	}
	if err := await("the message that is not held arrives", func() bool { return len(w.down.got(toDown)) == 1 }); err != nil {
		return err
	}
	held := w.in("hold", toDown)
	if len(held) != 1 {
		return fmt.Errorf("%d messages are on hold, not 1", len(held))
	}
	if err := await("nothing is left but the held message", func() bool { q, err := w.queue(); return err == nil && len(q) == 1 }); err != nil {
		return err
	}
	w.showLog(false)

	title("It is released, and tried now")
	if err := errors.Join(w.run("", "postsuper", "-H", held[0]), w.run("", "postqueue", "-i", held[0])); err != nil {
		return err
	}
	if err := await("both messages for "+toDown+" have arrived", func() bool { return w.arrived(toDown) }); err != nil {
		return err
	}
	if err := await("the queue is empty", func() bool { q, err := w.queue(); return err == nil && len(q) == 0 }); err != nil {
		return err
	}
	w.showLog(false)
	if err := w.run("", "postqueue", "-p"); err != nil {
		return err
	}
	for _, to := range []string{toHealthy, toSlow, toDown} {
		if !w.arrived(to) {
			return fmt.Errorf("what arrived for %s is not what was sent, each once", to)
		}
	}
	return nil
}
