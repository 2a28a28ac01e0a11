package qmgr

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"postrider/lib/ipc"
	"postrider/lib/proto"
)

// Limits of operators' connections.
const (
	connectionsPerUser = 16
	connectionsInAll   = 64
	requestTime        = 10 * time.Second // to send a request
	replyTime          = time.Minute      // to take a part of the answer
	requestMax         = 1 << 20          // bytes of a request: some 60,000 ids
)

// sysexits codes in answers to operators.
const (
	exUsage    = 64
	exNoPerm   = 77
	exTempFail = 75
)

// operators serves public/qmgr until ctx ends. Connections are bounded for each user,
// so that nobody keeps others out.
func (m *manager) operators(ctx context.Context, l net.Listener) {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var mu sync.Mutex
	count, all := map[uint32]int{}, 0
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(100 * time.Millisecond) // out of descriptors: give some time to come back
			continue
		}
		sock := c.(*net.UnixConn)
		peer, err := ipc.PeerOf(sock)
		mu.Lock()
		full := peer.UID != 0 && (count[peer.UID] >= connectionsPerUser || all >= connectionsInAll)
		if err != nil || full {
			mu.Unlock()
			sock.Close()
			continue
		}
		count[peer.UID]++
		all++
		mu.Unlock()
		go func() {
			defer func() {
				mu.Lock()
				if count[peer.UID]--; count[peer.UID] == 0 {
					delete(count, peer.UID)
				}
				all--
				mu.Unlock()
			}()
			o := &operator{m: m, peer: peer, sock: sock, conn: ipc.New(sock, requestMax)}
			defer o.conn.Close()
			o.serve()
		}()
	}
}

// operator is one connection to public/qmgr.
type operator struct {
	m    *manager
	peer ipc.Peer
	sock *net.UnixConn
	conn *ipc.Conn
}

func (o *operator) serve() {
	o.sock.SetDeadline(time.Now().Add(requestTime))
	if _, err := o.conn.Greet(ipc.Hello{Protocol: proto.OperatorName, Version: proto.OperatorVersion}); err != nil {
		return
	}
	for {
		o.sock.SetDeadline(time.Now().Add(requestTime))
		f, err := o.conn.Next()
		if err != nil {
			return
		}
		f.CloseFDs()
		done := o.request(&f)
		if o.send(proto.TypeDone, &done) != nil {
			return
		}
	}
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
	}
	return proto.Done{Code: exUsage, Text: "qmgr does not understand the request"}
}

// send gives the client a limited time to take a frame.
func (o *operator) send(typ uint8, a ipc.Appender) error {
	o.sock.SetDeadline(time.Now().Add(replyTime))
	return o.conn.Send(typ, a)
}

// ask runs f in the owner's goroutine and waits for it.
func ask[T any](m *manager, f func() T) T {
	c := make(chan T, 1)
	m.post(func() { c <- f() })
	return <-c
}
