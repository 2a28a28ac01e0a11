package cleanup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"postrider/lib/daemon"
	"postrider/lib/ipc"
	"postrider/lib/mail"
	"postrider/lib/maildrop"
	"postrider/lib/proto"
	"postrider/lib/suspect"
)

// refuseTime is how long nothing is taken from a client whose mail has crashed cleanup
// too often; then one more try is free.
const refuseTime = 10 * time.Minute

// reader notes what one goroutine is about to read, for the next cleanup, should this
// one die of it. What earlier ones died of is read with nothing else beside it. A
// reader that begin was called on is ended by end, whatever happens between.
type reader struct {
	s     *service
	note  *suspect.Note
	key   []byte
	state readerState
}

type readerState uint8

const (
	quiet  readerState = iota
	shared             // reads beside others
	alone
)

func (s *service) newReader() reader { return reader{s: s, note: s.notes.Note()} }

// name says what is to be read and returns how often it killed.
func (r *reader) name(what, which string) suspect.Strike {
	r.key = append(append(append(r.key[:0], what...), ' '), which...)
	return r.s.strikes.Of(r.key)
}

// of names a submitted message by who is to blame for it: the client whose mail it is,
// or the message in the queue that bounce and local were given.
func (r *reader) of(partner string, env *mail.Envelope) suspect.Strike {
	switch {
	case env.Origin == mail.FromSMTP:
		return r.name("mail of", env.Client.Addr)
	case env.Replaces.ID != "":
		return r.name(programOf(partner), string(env.Replaces.ID))
	}
	return r.name(programOf(partner), string(env.ID))
}

// begin waits for the right to read what was named.
func (r *reader) begin(x suspect.Strike) {
	if x.Count > 0 {
		r.s.parse.Lock()
		r.state = alone
	} else {
		r.s.parse.RLock()
		r.state = shared
	}
	r.note.Set(r.key)
}

// end says that it was read, or that it was not.
func (r *reader) end() {
	switch r.state {
	case shared:
		r.note.Clear()
		r.s.parse.RUnlock()
	case alone:
		r.note.Clear()
		r.s.parse.Unlock()
	}
	r.state = quiet
}

// fine lifts the suspicion against what was named.
func (r *reader) fine(x suspect.Strike) {
	if x.Count == 0 {
		return
	}
	r.s.log.Infof("not suspected any more: %s", r.key)
	if err := r.s.strikes.Set(r.key, 0); err != nil {
		r.s.log.Warnf("%v", err)
	}
}

// suspicious says why a submitted message is not read, or nil. The mail of a client is
// many messages, of which one may have killed: it is refused for a while only, and
// what is taken meanwhile lifts nothing.
func (r *reader) suspicious(env *mail.Envelope, x suspect.Strike) *refusal {
	switch {
	case x.Count < suspect.Guilty:
		return nil
	case env.Origin != mail.FromSMTP:
		return &refusal{code: proto.SubmitSuspect, dsn: "", text: fmt.Sprintf("cleanup died (%s) %d times reading it", x.How, x.Count)}
	case r.s.now().Sub(x.Last) < refuseTime:
		return &refusal{code: 451, dsn: "4.3.0", text: "Error: queue file write error"}
	}
	if err := r.s.strikes.Set(r.key, suspect.Guilty-1); err != nil {
		r.s.log.Warnf("%v", err)
	}
	return nil
}

// safely acts on a frame; a panic ends that one transaction.
func (c *client) safely(payload []byte, f func() error) (err error) {
	c.current = nil
	panicked := daemon.Guard(func() { err = f() })
	c.reader.end()
	if !panicked {
		return err
	}
	var p proto.SubmitPart // as Submit, it begins with the transaction
	if p.Decode(payload) != nil {
		return nil
	}
	r := &refusal{code: 451, dsn: "4.3.0", text: "Error: queue file write error"}
	if programOf(c.name) != "smtpd" {
		r = &refusal{code: proto.SubmitSuspect, dsn: "", text: "cleanup panicked reading it"}
	}
	m := c.open[p.Tx]
	if delete(c.open, p.Tx); m == nil {
		m = c.current
	}
	if m != nil { // not to be used again: nobody knows what state it is in
		c.s.buffered.Add(-int64(m.held))
		if m.large != nil {
			daemon.Guard(m.large.Abort)
		}
	}
	c.replies.add(r.reply(p.Tx))
	return nil
}

// condemnAgain is how long qmgr may take to save a file.
const condemnAgain = time.Minute

// condemn has qmgr save a file that killed too often to corrupt/, as it is; doomed
// goes on when that is done.
func (r *dropReader) condemn(name string, x suspect.Strike) error {
	r.mu.Lock()
	asked, ok := r.doomed[name]
	r.mu.Unlock()
	conn := r.s.queue.connection()
	if conn == nil || ok && r.s.now().Sub(asked) < condemnAgain {
		return nil
	}
	f, _, err := r.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r.mu.Lock()
	r.doomed[name] = r.s.now()
	r.mu.Unlock()
	why := fmt.Sprintf("cleanup died (%s) %d times while reading it", x.How, x.Count)
	r.log.Warnf("saving %s/%s to queue corrupt: %s", dropDir, name, why)
	err = conn.SendFDs(proto.TypeCondemn, &proto.Condemn{Name: name, Reason: why}, int(f.Fd()))
	if err != nil && !errors.Is(err, ipc.ErrNoDescriptor) { // that is tried again in a minute
		conn.Close()
	}
	return nil
}

// condemned takes qmgr's answer.
func (r *dropReader) condemned(a *proto.Condemned) {
	r.mu.Lock()
	_, ok := r.doomed[a.Name]
	r.mu.Unlock()
	if !ok || !maildrop.ValidName(a.Name) {
		return
	}
	if a.Text != "" {
		r.log.Warnf("%s/%s: cannot be saved to queue corrupt: %s", dropDir, a.Name, a.Text)
		return
	}
	if err := os.Remove(filepath.Join(r.dir, a.Name)); err != nil {
		r.log.Warnf("%s/%s: it is saved in queue corrupt, but cannot be removed: %v", dropDir, a.Name, err)
		return
	}
	r.mu.Lock()
	delete(r.doomed, a.Name)
	r.mu.Unlock()
	if err := r.s.strikes.Set([]byte(dropDir+" "+a.Name), 0); err != nil {
		r.log.Warnf("%v", err)
	}
}
