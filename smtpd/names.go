package smtpd

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postrider/lib/ipc"
	"postrider/lib/proto"
)

const (
	// nameTime is how long a client may have to wait for its own name to be found.
	nameTime = 5 * time.Second
	// smtpTime is how much of that is waited for an smtp that starts.
	smtpTime = time.Second
)

// names finds the names of clients. smtpd can open no socket, so smtp looks them up, and
// keeps them as long as the name servers allow.
type names struct {
	mu      sync.Mutex
	known   bool          // there is an smtp, or soon again
	conns   []*ipc.Conn   // to smtp, in the order in which they came
	came    chan struct{} // closed when there is one more, if anybody waits for it
	waiting map[uint64]question
	last    uint64
}

type question struct {
	conn   *ipc.Conn
	answer chan answer // has room
}

// answer is to a NameOf or an Ask. The zero answer is none.
type answer struct {
	id    uint64
	named proto.Named
	told  proto.Told
}

// connect takes a connection to smtp and serves it until it ends.
func (n *names) connect(sock *net.UnixConn) {
	conn := ipc.New(sock, 16<<10)
	defer conn.Close()
	if _, err := conn.Greet(ipc.Hello{Protocol: proto.NamesName, Version: proto.NamesVersion}); err != nil {
		return
	}
	n.mu.Lock()
	n.known, n.conns = true, append(n.conns, conn)
	if n.came != nil {
		close(n.came)
		n.came = nil
	}
	n.mu.Unlock()
	for {
		f, err := conn.Next()
		if err != nil {
			break
		}
		f.CloseFDs()
		var a answer
		switch f.Type {
		case proto.TypeNamed:
			err = a.named.Decode(f.Payload)
			a.id = a.named.ID
		case proto.TypeTold:
			err = a.told.Decode(f.Payload)
			a.id = a.told.ID
		default:
			err = ipc.ErrFrame
		}
		if err != nil {
			break
		}
		n.mu.Lock()
		q, ok := n.waiting[a.id]
		delete(n.waiting, a.id)
		n.mu.Unlock()
		if ok {
			q.answer <- a
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = slices.DeleteFunc(n.conns, func(c *ipc.Conn) bool { return c == conn })
	for id, q := range n.waiting {
		if q.conn == conn {
			delete(n.waiting, id)
			q.answer <- answer{named: proto.Named{Temporary: true}}
		}
	}
}

// expect says that there is an smtp, which will greet.
func (n *names) expect() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known = true
}

// of returns what is known of the name of addr. Without smtp, when it takes too long, and
// at a stop, there is no name: no mail waits for it.
func (n *names) of(addr netip.Addr, stop <-chan struct{}) proto.Named {
	return n.put(stop, proto.TypeNameOf, func(id uint64) ipc.Appender { return &proto.NameOf{ID: id, Addr: addr} }).named
}

// tell returns what the DNS has for a name: NameUnknown, too, when nobody answers.
func (n *names) tell(kind proto.AskKind, name string, stop <-chan struct{}) proto.Told {
	if len(name) > 255 {
		return proto.Told{Outcome: proto.NameNotFound}
	}
	return n.put(stop, proto.TypeAsk, func(id uint64) ipc.Appender { return &proto.Ask{ID: id, Kind: kind, Name: name} }).told
}

// put puts a question to smtp and waits for the answer, for a while.
func (n *names) put(stop <-chan struct{}, typ uint8, question func(id uint64) ipc.Appender) answer {
	none := answer{named: proto.Named{Temporary: true}}
	c := make(chan answer, 1)
	id, conn := n.ask(c, stop)
	if conn == nil {
		return none
	}
	defer func() {
		n.mu.Lock()
		delete(n.waiting, id)
		n.mu.Unlock()
	}()
	late := time.NewTimer(nameTime)
	defer late.Stop()
	conn.Socket().SetWriteDeadline(time.Now().Add(nameTime))
	if conn.Send(typ, question(id)) != nil {
		conn.Close() // what it lost nobody can send again
		return none
	}
	select {
	case a := <-c:
		return a
	case <-late.C:
	case <-stop:
	}
	return none
}

// ask takes a number for a question, and the connection to put it to, or none.
func (n *names) ask(answer chan answer, stop <-chan struct{}) (id uint64, conn *ipc.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.conns) == 0 && n.known {
		if n.came == nil {
			n.came = make(chan struct{})
		}
		came := n.came
		n.mu.Unlock()
		select {
		case <-came:
		case <-time.After(smtpTime):
		case <-stop:
		}
		n.mu.Lock()
	}
	if len(n.conns) == 0 {
		return 0, nil
	}
	n.last++
	if n.waiting == nil {
		n.waiting = map[uint64]question{}
	}
	n.waiting[n.last] = question{n.conns[0], answer}
	return n.last, n.conns[0]
}
