package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"postrider/lib/crash"
	"postrider/lib/ipc"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

// Handler makes one delivery and says what became of it; the Agent fills in what
// names the delivery in the result (ID, Queue, File, Slot). A recipient that the
// result does not list was not tried. ctx ends when the daemon is stopping: a
// handler then gives up what it can still give up without harm, leaving those
// recipients out of the result. The request and its content are the handler's
// only until it returns.
type Handler func(ctx context.Context, r *Request) proto.Result

// Options say who the agent is.
type Options struct {
	Program string // "smtp"
	Number  int    // which process of the program, from 0
	Of      int    // how many processes of the program there are
	// Limit is how many deliveries of a service of master.cf may run at once
	// (maxproc); 0 is no limit. It is asked at each delivery, so a reload tells.
	Limit func(service string) int
	// Resolve looks up the addresses of a next hop, so that deliveries find them in
	// the agent's cache. It returns how long they do, whether no answer could be had,
	// and whose hosts they are; Seq is not its business. nil: nothing needs looking up.
	Resolve func(ctx context.Context, service, nextHop string) proto.Resolved
	// Warnf tells the operator of what went wrong inside, one line.
	Warnf func(format string, args ...any)
	// End ends the process: what qmgr says can no longer be understood, because a
	// descriptor was lost for want of room, and only a new process gets a new
	// connection. nil: nothing does.
	End func()
}

// Agent holds the deliveries of one process. Make it with New.
type Agent struct {
	opt    Options
	handle Handler

	mu       sync.Mutex
	conn     *ipc.Conn // the qmgr that has been greeted and given all earlier results, or nil
	sock     *net.UnixConn
	inHand   map[proto.DeliveryID]*delivery
	services map[string]*service
	lanes    lanes
	stopping bool
	running  int
	idle     sync.Cond // signalled when running falls to zero
	ctx      context.Context
	cancel   context.CancelFunc
}

// delivery is what is kept of a request until its result is acknowledged.
type delivery struct {
	hand   proto.InHand
	done   bool
	result proto.Result
	first  [1]uint32 // of most deliveries, hand.Recipients
}

// New returns an agent that serves the qmgr given to Partner by h.
func New(o Options, h Handler) *Agent {
	if o.Of < 1 {
		o.Of = 1
	}
	if o.Limit == nil {
		o.Limit = func(string) int { return 0 }
	}
	if o.Warnf == nil {
		o.Warnf = func(string, ...any) {}
	}
	a := &Agent{opt: o, handle: h, inHand: map[proto.DeliveryID]*delivery{}, services: map[string]*service{}}
	a.idle.L = &a.mu
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

// Partner takes a connected socket to qmgr, which replaces the one before, and
// serves it in the background until it ends.
func (a *Agent) Partner(sock *net.UnixConn) {
	a.mu.Lock()
	old := a.sock
	a.sock, a.conn = sock, nil
	a.mu.Unlock()
	if old != nil {
		old.Close()
	}
	go a.serve(sock)
}

// serve is the conversation with one qmgr.
func (a *Agent) serve(sock *net.UnixConn) {
	c := ipc.New(sock, 0)
	defer c.Close()
	if err := a.converse(sock, c); !errors.Is(err, io.EOF) {
		a.mu.Lock()
		current := a.sock == sock && !a.stopping
		a.mu.Unlock()
		if current {
			a.opt.Warnf("lost connection with qmgr: %v", err)
		}
		if current && errors.Is(err, ipc.ErrFrame) && a.opt.End != nil {
			a.opt.End()
		}
	}
	a.mu.Lock()
	if a.sock == sock {
		a.sock, a.conn = nil, nil
	}
	a.mu.Unlock()
}

// converse returns why the conversation ended, io.EOF when qmgr closed it.
func (a *Agent) converse(sock *net.UnixConn, c *ipc.Conn) error {
	if err := a.greet(sock, c); err != nil {
		return err
	}
	var ack proto.Ack
	for {
		f, err := c.Next()
		if err != nil {
			return err
		}
		switch f.Type {
		case proto.TypeDeliver:
			r, err := newRequest(&f, c)
			if err != nil {
				return err
			}
			a.take(r)
		case proto.TypeResolve:
			f.CloseFDs()
			var q proto.Resolve
			if err := q.Decode(f.Payload); err != nil {
				return err
			}
			go a.resolve(c, &q)
		case proto.TypeAck:
			f.CloseFDs()
			if err := ack.Decode(f.Payload); err != nil {
				return err
			}
			a.forget(ack.IDs)
		default:
			f.CloseFDs()
			return fmt.Errorf("agent: frame of type %d from qmgr: %w", f.Type, ipc.ErrFrame)
		}
	}
}

// resolve answers one question for the addresses of a next hop. qmgr bounds how many
// there are at once.
func (a *Agent) resolve(c *ipc.Conn, q *proto.Resolve) {
	r := proto.Resolved{Holds: time.Hour}
	if a.opt.Resolve != nil {
		func() {
			defer func() {
				if p := recover(); p != nil {
					a.opt.Warnf("panic while looking up %q: %v: %s", q.NextHop, p, debug.Stack())
					r.Holds, r.Failed = time.Second, true
				}
			}()
			r = a.opt.Resolve(a.ctx, q.Service, q.NextHop)
		}()
	}
	r.Seq = q.Seq
	c.Send(proto.TypeResolved, &r) // whoever reads hears of a lost connection
}

// greet names everything in hand and sends the results of what is done already.
// What is done and not acknowledged counts as in hand too: qmgr must not start it
// before it has read the result that follows.
func (a *Agent) greet(sock *net.UnixConn, c *ipc.Conn) error {
	hello := proto.AgentHello{Program: a.opt.Program, Number: uint32(a.opt.Number), PID: uint64(os.Getpid())}
	a.mu.Lock()
	for _, d := range a.inHand {
		hello.InHand = append(hello.InHand, d.hand)
	}
	a.mu.Unlock()
	if _, err := c.Greet(ipc.Hello{Protocol: proto.DeliverName, Version: proto.DeliverVersion, Data: hello.Append(nil)}); err != nil {
		return err
	}

	var again []*delivery
	a.mu.Lock()
	if a.sock != sock {
		a.mu.Unlock()
		return io.EOF // a newer qmgr came meanwhile
	}
	for _, d := range a.inHand {
		if d.done {
			again = append(again, d)
		}
	}
	a.conn = c // from here on each delivery sends its own result
	a.mu.Unlock()
	for _, d := range again {
		if err := send(c, &d.result); err != nil {
			return err
		}
	}
	return nil
}

// take puts a request in hand and runs it as soon as its service has room.
func (a *Agent) take(r *Request) {
	d := &delivery{hand: proto.InHand{ID: r.ID, Queue: r.Queue, File: r.File, Slot: r.Slot}}
	if a.opt.Program == "bounce" {
		d.hand.Report = r.NextHop
	}
	d.hand.Recipients = slices.Grow(d.first[:0], len(r.Recipients))
	for i := range r.Recipients {
		d.hand.Recipients = append(d.hand.Recipients, r.Recipients[i].Index)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopping {
		r.release() // qmgr learns from our end that it was not tried
		return
	}
	a.inHand[r.ID] = d
	a.start(job{r, d})
}

// finish records a result and sends it when there is a qmgr to send it to.
func (a *Agent) finish(d *delivery, res proto.Result) {
	res.ID, res.Queue, res.File, res.Slot = d.hand.ID, d.hand.Queue, d.hand.File, d.hand.Slot
	a.mu.Lock()
	d.result, d.done = res, true
	c := a.conn
	a.mu.Unlock()
	if c != nil {
		send(c, &d.result) // a lost connection is seen by its reader; the next qmgr gets the result again
	}
}

// send sends a result; one that is too large for a frame, because of ever so many
// recipients with long replies, goes with shortened texts.
func send(c *ipc.Conn, res *proto.Result) error {
	err := c.Send(proto.TypeResult, res)
	if errors.Is(err, ipc.ErrTooLarge) {
		short := *res // another qmgr may be given the whole at the same time
		short.Recipients = slices.Clone(res.Recipients)
		for i := range short.Recipients {
			s := &short.Recipients[i].Status
			s.Text, s.Diag = cut(s.Text, 40), cut(s.Diag, 20)
		}
		err = c.Send(proto.TypeResult, &short)
	}
	return err
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

func (a *Agent) forget(ids []proto.DeliveryID) {
	a.mu.Lock()
	for _, id := range ids {
		if d := a.inHand[id]; d != nil && d.done {
			delete(a.inHand, id)
		}
	}
	a.mu.Unlock()
}

// run calls the handler and turns a panic into a result that says so: one bad message
// must not end the deliveries of all others; whole is false then.
func (a *Agent) run(r *Request) (res proto.Result, whole bool) {
	defer r.release()
	defer func() {
		if p := recover(); p != nil {
			a.opt.Warnf("%s: panic in delivery: %v: %s", r.Queue, p, debug.Stack())
			res, whole = crashes(r, fmt.Sprintf("%s panicked (%v)", a.opt.Program, p)), false
		}
	}()
	if crash.Planted {
		for i := range r.Recipients {
			crash.At(a.opt.Program, []byte(r.Recipients[i].Address))
		}
		content, _, _ := r.Content.Bytes()
		crash.At(a.opt.Program, content)
	}
	if res = a.handle(a.ctx, r); r.suspect != "" {
		res = crashes(r, r.suspect)
	}
	return res, true
}

// Deferred is the result that all recipients of r are deferred for s, which is no
// fault of the destination.
func Deferred(r *Request, s mail.Status) proto.Result {
	res := proto.Result{Hop: mail.Status{Class: mail.Sent}, Recipients: make([]proto.RecipientResult, len(r.Recipients))}
	s.Class = mail.Deferred
	for i := range r.Recipients {
		res.Recipients[i] = proto.RecipientResult{Index: r.Recipients[i].Index, Status: s}
	}
	return res
}

// crashes is the result that the message of r crashes who reads it: how says whom and
// by what. qmgr tries it in a process of its own and gives it up in the end.
func crashes(r *Request, how string) proto.Result {
	res := Deferred(r, mail.Status{DSN: "4.3.0", Text: "internal error in delivery agent"})
	res.Fault = cut(strings.Join(strings.Fields(how), " "), 200)
	return res
}

// InHand is how many deliveries were taken and not yet acknowledged.
func (a *Agent) InHand() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.inHand)
}

// Stop takes nothing new, ends the context of the handlers, and waits until the
// last of them has returned or ctx ends. What was taken and not begun is left:
// it was not tried.
func (a *Agent) Stop(ctx context.Context) {
	a.mu.Lock()
	a.stopping = true
	for _, s := range a.services {
		s.drop()
	}
	a.mu.Unlock()
	a.cancel()
	wake := context.AfterFunc(ctx, func() {
		a.mu.Lock()
		a.idle.Broadcast()
		a.mu.Unlock()
	})
	defer wake()
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.running > 0 && ctx.Err() == nil {
		a.idle.Wait()
	}
	if a.sock != nil {
		a.sock.Close()
	}
}
