package qmgr

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"postrider/lib/ipc"
	"postrider/lib/proto"
	"postrider/lib/sysexits"
)

// Limits of operators' connections.
const (
	requestTime = 10 * time.Second // to send a request
	replyTime   = time.Minute      // to take a part of the answer
	requestMax  = 1 << 20          // bytes of a request: some 60,000 ids
)

// busyTime is the time between signs of life while there is no answer yet; tests have less.
var busyTime = 5 * time.Second

// sysexits codes in answers to operators.
const (
	exUsage = sysexits.Usage

	exUnavailable = sysexits.Unavailable
	exNoPerm      = sysexits.NoPerm
	exTempFail    = sysexits.TempFail
)

// operators serves public/qmgr until ctx ends.
func (m *manager) operators(ctx context.Context, l net.Listener) {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(100 * time.Millisecond) // out of descriptors: give some time to come back
			continue
		}
		o := &operator{m: m, sock: c.(*net.UnixConn)}
		if o.peer, err = ipc.PeerOf(o.sock); err != nil {
			c.Close()
			continue
		}
		most := requestMax
		if !mayChange(o.peer) {
			most = userRequestMax
			if o.user = m.crowd.enter(o.peer.UID); o.user == nil {
				o.refuse()
				time.Sleep(refusalPause)
				continue
			}
		}
		go func() {
			defer o.user.leave()
			o.conn = ipc.New(o.sock, 0)
			o.conn.TakeAtMost(most)
			defer o.conn.Close()
			o.serve()
		}()
	}
}

// operator is one connection to public/qmgr.
type operator struct {
	m     *manager
	peer  ipc.Peer
	user  *user // nil: may do anything
	sock  *net.UnixConn
	conn  *ipc.Conn
	began time.Time // of the request

	writing sync.Mutex
}

var hello = ipc.Hello{Protocol: proto.OperatorName, Version: proto.OperatorVersion}

// refuse closes a connection that is one too many. All that it costs is one write, which
// has room in the socket: what the client says is not waited for.
func (o *operator) refuse() {
	b := ipc.AppendFrame(nil, ipc.TypeHello, &hello)
	b = ipc.AppendFrame(b, proto.TypeDone, &proto.Done{Code: exTempFail, Text: "too many connections from you; try again"})
	o.sock.SetDeadline(time.Now().Add(time.Second))
	o.sock.Write(b)
	o.sock.Close()
	if o.m.crowd.tell(time.Now()) {
		o.m.log.Warnf("too many connections to %s: some from uid %d are refused", proto.OperatorSocket, o.peer.UID)
	}
}

func (o *operator) serve() {
	o.sock.SetDeadline(time.Now().Add(requestTime))
	if _, err := o.conn.Greet(hello); err != nil {
		return
	}
	for {
		o.sock.SetDeadline(time.Now().Add(requestTime))
		f, err := o.conn.Next()
		if err != nil {
			return
		}
		f.CloseFDs()
		done := o.answer(&f)
		if o.send(proto.TypeDone, &done) != nil {
			return
		}
	}
}

// answer carries a request out when it is the user's turn. Until then, and while it
// takes long, the client sees that we live.
func (o *operator) answer(f *ipc.Frame) proto.Done {
	quiet := time.NewTicker(busyTime)
	defer quiet.Stop()
	over := make(chan struct{})
	defer close(over)
	go func() {
		for {
			select {
			case <-quiet.C:
				if o.writing.TryLock() { // else it sees something anyway
					o.put(proto.TypeBusy, nil)
					o.writing.Unlock()
				}
			case <-over:
				return
			}
		}
	}()
	if !o.user.take() {
		return proto.Done{Code: exTempFail, Text: "others of your requests are still being answered; try again"}
	}
	pause := listPause
	if f.Type == proto.TypeVerb {
		pause = flushPause
	}
	defer o.user.done(pause)
	o.began = time.Now()
	return o.request(f)
}

func (o *operator) request(f *ipc.Frame) proto.Done {
	switch f.Type {
	case proto.TypeList:
		var l proto.List
		if l.Decode(f.Payload) != nil {
			break
		}
		return o.list(&l)
	case proto.TypeVerb:
		var v proto.Verb
		if v.Decode(f.Payload) != nil {
			break
		}
		return o.verb(&v)
	case proto.TypeWhy:
		var w proto.Why
		if w.Decode(f.Payload) != nil {
			break
		}
		return o.why(&w)
	case proto.TypeShape:
		var s proto.Shape
		if s.Decode(f.Payload) != nil {
			break
		}
		return o.shape(&s)
	}
	return proto.Done{Code: exUsage, Text: "qmgr does not understand the request"}
}

// send gives the client a limited time to take a frame.
func (o *operator) send(typ uint8, a ipc.Appender) error {
	o.writing.Lock()
	defer o.writing.Unlock()
	return o.put(typ, a)
}

func (o *operator) put(typ uint8, a ipc.Appender) error {
	o.sock.SetDeadline(time.Now().Add(replyTime))
	return o.conn.Send(typ, a)
}

// ask runs f in the owner's goroutine and waits for it.
func ask[T any](m *manager, f func() T) T {
	c := make(chan T, 1)
	m.post(func() { c <- f() })
	return <-c
}
