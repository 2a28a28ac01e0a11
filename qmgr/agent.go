package qmgr

import (
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"postrider/lib/disk"
	"postrider/lib/ipc"
	"postrider/lib/proto"
	"postrider/lib/spool"
)

// agent is one connected delivery agent. Its fields belong to the owner, except
// conn, which may be used by all, and the outbox with its lock.
type agent struct {
	m       *manager
	name    string // partner name: "smtp.0", "local"
	sock    *net.UnixConn
	program string // "smtp"
	pid     uint64
	alone   bool // tries suspects, one at a time
	conn    *ipc.Conn
	busy    int  // deliveries in hand
	talking bool // is in manager.talking

	mu     sync.Mutex
	filled sync.Cond
	out    []outgoing
	closed bool
}

// outgoing is something on its way to the agent's writer: a request, to which the
// writer adds the content, a question, or what is pending in conn.
type outgoing struct {
	req *proto.Deliver
	msg *spool.Message

	typ   uint8
	frame ipc.Appender
}

// connect greets an agent and then reads what it reports, in a goroutine of its
// own. The owner hears of the hello, of results and of the end.
func (m *manager) connect(name string, sock *net.UnixConn) {
	a := &agent{m: m, name: name, sock: sock, conn: ipc.New(sock, 0)}
	a.filled.L = &a.mu
	data, err := a.conn.Greet(ipc.Hello{Protocol: proto.DeliverName, Version: proto.DeliverVersion})
	var hello proto.AgentHello
	if err == nil {
		err = hello.Decode(data)
	}
	if err != nil {
		a.conn.Close()
		m.post(func() { m.unknown(name, sock) })
		return
	}
	a.program, a.pid, a.alone = hello.Program, hello.PID, strings.HasSuffix(name, proto.AloneSuffix)
	m.post(func() { m.agentUp(a, &hello) })
	go a.write()
	err = a.read()
	a.conn.Close()
	a.mu.Lock()
	a.closed = true
	a.filled.Signal()
	a.mu.Unlock()
	m.post(func() { m.agentDown(a, err) })
}

// reports are what one read brought, until the owner has taken them.
type reports struct {
	results []proto.Result
	names   []proto.Resolved
	run     func()
}

// next returns memory for one more result: of those before, what is not kept.
func (r *reports) next() *proto.Result {
	if n := len(r.results); n < cap(r.results) {
		r.results = r.results[:n+1]
	} else {
		r.results = append(r.results, proto.Result{})
	}
	return &r.results[len(r.results)-1]
}

// read passes on every result of a read at once.
func (a *agent) read() error {
	idle := make(chan *reports, 4)
	for {
		var got *reports
		select {
		case got = <-idle:
		default:
			got = &reports{}
			got.run = func() {
				a.m.resolved(a, got.names)
				a.m.results(a, got.results)
				got.names = nil
				if got.results = got.results[:0]; cap(got.results) > reportsMax {
					return
				}
				select {
				case idle <- got:
				default:
				}
			}
		}
		for {
			f, err := a.conn.Next()
			if err != nil {
				return err
			}
			f.CloseFDs()
			switch f.Type {
			case proto.TypeResult:
				err = got.next().Decode(f.Payload)
			case proto.TypeResolved:
				var r proto.Resolved
				err = r.Decode(f.Payload)
				got.names = append(got.names, r)
			default:
				err = fmt.Errorf("frame type %d from %s: %w", f.Type, a.name, ipc.ErrFrame)
			}
			if err != nil {
				return err
			}
			if !a.conn.Buffered() {
				break
			}
		}
		a.m.post(got.run)
	}
}

// reportsMax is how many results in a batch keep their memory.
const reportsMax = 256

// send gives a request to the writer.
func (a *agent) send(req *proto.Deliver, msg *spool.Message) {
	a.busy++
	a.queue(outgoing{req: req, msg: msg})
}

// add says something to an agent with the rest of this turn: the owner writes it himself,
// as far as the socket takes it, and wakes nobody here for that.
func (m *manager) add(a *agent, typ uint8, frame ipc.Appender) {
	if !m.added(a, typ, frame) {
		a.queue(outgoing{typ: typ, frame: frame})
	}
}

// added is false when an agent is slow to read: then its writer has to wait.
func (m *manager) added(a *agent, typ uint8, frame ipc.Appender) bool {
	if !a.conn.Add(typ, frame) {
		return false
	}
	if !a.talking {
		a.talking = true
		m.talking = append(m.talking, a)
	}
	return true
}

// say writes what was added in this turn.
func (m *manager) say() {
	for i, a := range m.talking {
		a.talking, m.talking[i] = false, nil
		if a.conn.TryFlush() {
			a.queue(outgoing{})
		}
	}
	m.talking = m.talking[:0]
}

// queue never blocks: what is in hand is bounded by the transports' slots.
func (a *agent) queue(o outgoing) {
	a.mu.Lock()
	a.out = append(a.out, o)
	a.filled.Signal()
	a.mu.Unlock()
}

// write adds the content to requests and sends them.
func (a *agent) write() {
	var buf []byte
	var batch []outgoing
	for {
		a.mu.Lock()
		for len(a.out) == 0 && !a.closed {
			a.filled.Wait()
		}
		if a.closed {
			a.mu.Unlock()
			return
		}
		batch, a.out = a.out, batch[:0]
		a.mu.Unlock()
		for i := range batch {
			o := &batch[i]
			switch { // a failure is heard by read
			case o.frame != nil:
				a.conn.Send(o.typ, o.frame)
				continue
			case o.req == nil:
				a.conn.Flush()
				continue
			}
			var err error
			if buf, err = a.put(o, buf); err != nil {
				req := o.req
				a.m.post(func() { a.m.unreadable(req.ID, err) })
			}
		}
		clear(batch)
	}
}

// put sends one request with its content: inline when small, as a descriptor of
// the message's own file, or as a sealed memory file. The error is about the
// content only.
func (a *agent) put(o *outgoing, buf []byte) ([]byte, error) {
	q := a.m.spool
	if o.msg.Large != "" {
		f, err := q.OpenLarge(o.msg)
		if err != nil {
			return buf, err
		}
		defer f.Close()
		file, ok := disk.Descriptor(f)
		if !ok {
			return buf, fmt.Errorf("qmgr: %s: no descriptor", o.msg.Large)
		}
		o.req.CRC = o.msg.CRC
		return buf, a.sendFile(o.req, file)
	}
	b, buf, err := q.ReadContent(o.msg, buf)
	if err != nil {
		return buf, err
	}
	o.req.CRC = crc32.Checksum(b, castagnoli)
	if len(b) <= proto.InlineMax {
		o.req.Inline, o.req.Content = true, b
		return buf, unsent(a.conn.Send(proto.TypeDeliver, o.req))
	}
	f, err := sealed(b)
	if err != nil {
		return buf, err
	}
	defer f.Close()
	return buf, a.sendFile(o.req, f)
}

// unsent is the error of a Send that says nothing about the connection; the others
// are heard by read.
func unsent(err error) error {
	if errors.Is(err, ipc.ErrTooLarge) || errors.Is(err, ipc.ErrNoDescriptor) {
		return err
	}
	return nil
}

func (a *agent) sendFile(req *proto.Deliver, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Control(func(fd uintptr) { sent = a.conn.SendFDs(proto.TypeDeliver, req, int(fd)) })
	return errors.Join(err, unsent(sent))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealed makes a memory file of b that nobody can change any more: an agent that is
// taken over cannot alter what another one of the same message reads.
func sealed(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("content", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("qmgr: memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "content")
	if _, err = f.Write(b); err == nil {
		const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("qmgr: memory file: %w", err)
	}
	return f, nil
}
