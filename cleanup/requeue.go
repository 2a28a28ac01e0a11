package cleanup

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"postrider/lib/daemon"
	"postrider/lib/ipc"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/proto"
	"postrider/lib/suspect"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged: the content that qmgr handed over is not what it was.
var errDamaged = errors.New("content does not match its checksum")

// requeue takes a message of the queue as if it came anew (postsuper -r), in a
// goroutine of its own. It answers when the outcome is certain. A frame of a
// connection that another one has taken the place of is dropped: the next qmgr is
// told nothing before all that was begun for this one has ended, so that it does
// not ask for the same again.
func (q *queueLink) requeue(conn *ipc.Conn, f ipc.Frame) error {
	var r proto.Requeue
	err := r.Decode(f.Payload)
	q.mu.Lock()
	begin := err == nil && q.conn == conn && len(f.FDs) > 0
	if begin {
		q.requeues.Add(1)
	}
	q.mu.Unlock()
	if !begin {
		f.CloseFDs()
		return err
	}
	files := make([]*os.File, len(f.FDs))
	for i, fd := range f.FDs {
		files[i] = os.NewFile(uintptr(fd), "requeued message")
	}
	var once sync.Once
	answer := func(a proto.Requeued) {
		once.Do(func() {
			q.requeues.Done()
			a.Seq = r.Seq
			if conn.Send(proto.TypeRequeued, &a) != nil {
				conn.Close()
			}
		})
	}
	go func() {
		if daemon.Guard(func() { q.s.requeue(&r, files, answer) }) {
			answer(proto.Requeued{Code: 451, DSN: "4.3.0", Text: "cleanup cannot read the message"})
		}
	}()
	return nil
}

// requeue makes a new message of an old one's envelope and content; answer is
// called once.
func (s *service) requeue(r *proto.Requeue, files []*os.File, answer func(proto.Requeued)) {
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	b := make([]byte, max(0, min(r.Envelope, maxEnvelope)))
	env := &mail.Envelope{}
	_, err := io.ReadFull(io.NewSectionReader(files[0], 0, r.Envelope), b)
	if err == nil {
		env, err = mail.DecodeEnvelope(b)
	}
	if err != nil || env.Replaces.ID == "" {
		answer(proto.Requeued{Code: 451, DSN: "4.3.0", Text: fmt.Sprintf("the envelope cannot be read: %v", err)})
		return
	}
	read := s.newReader()
	defer func() { read.end(); read.note.Close() }()
	x := read.name("requeue", string(env.Replaces.ID))
	if x.Count >= suspect.Guilty {
		answer(proto.Requeued{Code: proto.RequeueDamaged, Text: fmt.Sprintf("cleanup died (%s) %d times while reading it", x.How, x.Count)})
		return
	}
	read.begin(x)
	set := s.settings.Load()
	env.ID, env.Sender = s.ids.Next(s.now()), set.rewrite(env.Sender)
	for i := range env.Recipients {
		to := &env.Recipients[i]
		if a := set.rewrite(to.Address); a != to.Address {
			if to.Original == "" {
				to.Original = to.Address
			}
			to.Address = a
		}
	}
	content := io.NewSectionReader(files[0], r.Envelope, r.Size)
	if len(files) > 1 {
		content = io.NewSectionReader(files[1], 0, r.Size)
	}
	s.log.Named(set.pickup).Event(maillog.Pickup{Queue: env.ID, UID: env.Client.UID, From: env.Sender, Orig: env.Replaces.ID})
	m := s.newMessage(env, false)
	err = m.copy(content, r)
	if err == nil {
		m.close()
	}
	read.end()
	read.fine(x)
	switch {
	case err != nil:
		m.abort()
		answer(proto.Requeued{Code: proto.RequeueDamaged, Text: err.Error()})
	case m.err != nil:
		refused := m.err
		m.abort()
		answer(proto.Requeued{Code: refused.code, DSN: refused.dsn, Text: refused.text})
	default:
		m.picked = func(err error) {
			if err != nil {
				refused := refusalOf(err)
				if refused.code == proto.SubmitUnknown {
					s.settle()
				}
				answer(proto.Requeued{Code: refused.code, DSN: refused.dsn, Text: refused.text})
				return
			}
			answer(proto.Requeued{})
		}
		m.append()
	}
}

// copy writes a content of a known length and checksum.
func (m *message) copy(from io.Reader, r *proto.Requeue) error {
	buf := make([]byte, spillSize)
	var n int64
	sum := uint32(0)
	for m.err == nil {
		k, err := from.Read(buf)
		n, sum = n+int64(k), crc32.Update(sum, castagnoli, buf[:k])
		m.write(buf[:k])
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if m.err == nil && (n != r.Size || sum != r.CRC) {
		return errDamaged
	}
	return nil
}
