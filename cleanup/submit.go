package cleanup

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"postrider/lib/ipc"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

const (
	// maxOpen is how many unfinished transactions a client may have.
	maxOpen = 2048
	// maxEnvelope bounds an envelope that comes in parts, in bytes.
	maxEnvelope = 32 << 20
)

// client is one submit connection. Its transactions are its reader's goroutine's
// alone until they are complete; then the journal has them.
type client struct {
	s       *service
	name    string // "smtpd.0", "bounce"
	seq     uint64 // order of arrival
	conn    *ipc.Conn
	open    map[uint32]*message
	outside bool // brings mail from outside: is slowed, and hears of quotas
	replies replies
	reader  reader
	current *message // the one that the frame being read is of

	// Under service.mu.
	greeted bool
	pid     uint64 // of its process, 0: it does not say
	eof     bool
	pending int // complete and not answered
}

var clientSeq struct {
	sync.Mutex
	n uint64
}

// newClient registers a connection; serve then runs it.
func (s *service) newClient(name string, sock *net.UnixConn) *client {
	c := &client{s: s, name: name, conn: ipc.New(sock, 0), open: map[uint32]*message{}, outside: strings.HasPrefix(name, "smtpd")}
	c.replies.init(c.conn)
	c.reader = s.newReader()
	clientSeq.Lock()
	clientSeq.n++
	c.seq = clientSeq.n
	clientSeq.Unlock()
	s.mu.Lock()
	s.clients[name] = append(s.clients[name], c)
	s.mu.Unlock()
	return c
}

// serve reads the connection to its end. What was complete goes on; the rest is
// dropped.
func (c *client) serve() {
	defer c.gone()
	defer func() { c.reader.note.Close() }()
	data, err := c.conn.Greet(ipc.Hello{Protocol: proto.SubmitName, Version: proto.SubmitVersion})
	var hello proto.SubmitHello
	if err == nil {
		err = hello.Decode(data)
	}
	if err != nil {
		if !errors.Is(err, io.EOF) {
			c.s.log.Warnf("%s: %v", c.name, err)
		}
		c.conn.Close()
		return
	}
	c.s.mu.Lock()
	c.greeted, c.pid = true, hello.PID
	c.s.ended.Broadcast()
	c.s.mu.Unlock()
	go c.replies.run()
	if c.outside {
		end := make(chan struct{})
		defer close(end)
		go c.s.full.tell(c, end)
	}
	for {
		f, err := c.conn.Next()
		if err == nil {
			f.CloseFDs()
			err = c.safely(f.Payload, func() error { return c.frame(f) })
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				c.s.log.Warnf("lost the connection with %s: %v", c.name, err)
			}
			return
		}
	}
}

// gone ends the client's half: no more frames come.
func (c *client) gone() {
	for _, m := range c.open {
		m.abort()
	}
	c.open = nil
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	c.eof = true
	c.quiet()
}

// quiet forgets a client that has ended and been answered. The caller holds
// service.mu.
func (c *client) quiet() {
	if !c.eof || c.pending > 0 {
		return
	}
	c.replies.close()
	list := c.s.clients[c.name]
	for i := range list {
		if list[i] == c {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(c.s.clients, c.name)
	} else {
		c.s.clients[c.name] = list
	}
	c.s.ended.Broadcast()
}

// frame acts on one frame. An error is the peer's fault and ends the connection.
// Frames of a transaction that is not open are those behind an early refusal.
func (c *client) frame(f ipc.Frame) error {
	if f.Type == proto.TypeSubmit || f.Type == proto.TypeSubmitOpen {
		var p proto.Submit
		if err := p.Decode(f.Payload); err != nil {
			return err
		}
		return c.begin(&p, f.Type == proto.TypeSubmit)
	}
	var p proto.SubmitPart
	if err := p.Decode(f.Payload); err != nil {
		return err
	}
	m := c.open[p.Tx]
	if m != nil {
		c.reader.begin(c.reader.of(c.name, m.env))
		defer c.reader.end()
	}
	switch f.Type {
	case proto.TypeSubmitEnvelope:
		if m == nil {
			return nil
		}
		if m.envelope == nil {
			m.envelope = mail.AppendEnvelope(nil, m.env)
		}
		if m.envelope = append(m.envelope, p.Data...); len(m.envelope) > maxEnvelope {
			m.refuse(&refusal{code: 452, dsn: "4.5.3", text: "Error: too many recipients"})
		}
	case proto.TypeSubmitData:
		if m == nil {
			return nil
		}
		m.write(p.Data)
	case proto.TypeSubmitEnd:
		if m != nil {
			c.complete(p.Tx, m)
		}
		return nil
	case proto.TypeSubmitAbort:
		if m != nil {
			delete(c.open, p.Tx)
			m.abort()
		}
		return nil
	default:
		return ipc.ErrFrame
	}
	if m.err != nil {
		delete(c.open, p.Tx)
		c.replies.add(m.err.reply(p.Tx))
		m.abort()
	}
	return nil
}

func (c *client) begin(p *proto.Submit, whole bool) error {
	if c.open[p.Tx] != nil {
		return ipc.ErrFrame
	}
	env, err := mail.DecodeEnvelope(p.Envelope)
	if err != nil {
		return err
	}
	if !env.ID.Valid() || !c.entitled(env) {
		return ipc.ErrFrame
	}
	if len(c.open) >= maxOpen {
		c.replies.add((&refusal{code: 451, dsn: "4.3.0", text: "Error: too many transactions"}).reply(p.Tx))
		return nil
	}
	x := c.reader.of(c.name, env)
	if r := c.reader.suspicious(env, x); r != nil {
		c.replies.add(r.reply(p.Tx))
		return nil
	}
	c.reader.begin(x)
	defer c.reader.end()
	m := c.s.newMessage(env, p.Local)
	c.current = m
	if whole {
		m.take(p.Content, c.conn)
	} else {
		m.write(p.Content)
	}
	switch {
	case whole:
		c.complete(p.Tx, m)
	case m.err != nil:
		c.replies.add(m.err.reply(p.Tx))
		m.abort()
	default:
		c.open[p.Tx] = m
	}
	return nil
}

// entitled says whether this partner may say what it says of a message: bounce and
// local alone take the place of mail in the queue, so that an smtpd that was taken
// over cannot cross anything off, and a file of maildrop/ is ours alone to replace.
func (c *client) entitled(env *mail.Envelope) bool {
	if env.Replaces.Maildrop != "" {
		return false
	}
	if programOf(c.name) != "local" && slices.ContainsFunc(env.Recipients, func(r mail.Recipient) bool { return r.Member != 0 }) {
		return false
	}
	switch env.Origin {
	case mail.FromSMTP:
		return env.Replaces.Zero()
	case mail.FromBounce:
		return programOf(c.name) == "bounce" || c.notice(env)
	case mail.FromLocal:
		return programOf(c.name) == "local"
	}
	return false
}

// notice says whether the message may be one of those that tell the postmaster of a session:
// who takes part in sessions may send him these, in the name of nobody.
func (c *client) notice(env *mail.Envelope) bool {
	switch programOf(c.name) {
	case "smtpd", "smtp", "lmtp":
		return env.Replaces.Zero() && len(env.Recipients) == 1 && env.Sender == c.s.settings.Load().double
	}
	return false
}

// complete gives a whole message to the journal. The reader goes on with the next:
// it waits neither for the disk nor for who is being slowed.
func (c *client) complete(tx uint32, m *message) {
	delete(c.open, tx)
	if m.err == nil && m.envelope != nil {
		env, err := mail.DecodeEnvelope(m.envelope)
		if err != nil || env.ID != m.env.ID || !c.entitled(env) {
			m.refuse(&refusal{code: 451, dsn: "4.3.0", text: "Error: internal protocol error"})
		} else {
			m.env, m.envelope = env, nil
		}
	}
	m.close()
	if m.env.Origin != mail.FromSMTP {
		c.reader.fine(c.reader.of(c.name, m.env))
	}
	if m.err != nil {
		c.replies.add(m.err.reply(tx))
		m.abort()
		return
	}
	c.s.mu.Lock()
	c.pending++
	c.s.mu.Unlock()
	m.client, m.tx = c, tx
	delay := time.Duration(0)
	if c.outside {
		used, limit := c.s.journal.Usage()
		delay = c.s.heavy.wait(c.s.now(), m.env.Client.Addr, m.env.Size, used, limit)
	}
	switch {
	case delay > 0:
		time.AfterFunc(delay, m.append)
	case m.large != nil: // its sync is not everybody's
		go m.append()
	default:
		m.append()
	}
}

// answered is called when the journal is done with a message.
func (c *client) answered(tx uint32, err error) {
	r := proto.SubmitReply{Tx: tx}
	if err != nil {
		r = refusalOf(err).reply(tx)
	}
	c.replies.add(r)
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.pending--
	c.quiet()
}
