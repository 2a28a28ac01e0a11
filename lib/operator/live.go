package operator

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"postrider/lib/ipc"
	"postrider/lib/proto"
)

// helloTime is how long qmgr may take to answer a connection.
const helloTime = 10 * time.Second

type live struct{ conn *ipc.Conn }

// Dial connects to the queue manager of the instance whose queue directory dir is.
// The error is ErrDown when there is none.
func Dial(dir string) (Queue, error) {
	path := filepath.Join(dir, proto.OperatorSocket)
	sock, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w (nobody listens on %s)", ErrDown, path)
	case err != nil:
		return nil, err
	}
	c := ipc.New(sock, 0)
	sock.SetDeadline(time.Now().Add(helloTime))
	if _, err := c.Greet(ipc.Hello{Protocol: proto.OperatorName, Version: proto.OperatorVersion}); err != nil {
		c.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, fmt.Errorf("%w: nobody answers on %s; try again", ErrRunning, path)
		}
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the queue manager has too many connections from you or is just stopping; try again")
		}
		return nil, fmt.Errorf("the queue manager does not answer on %s: %w", path, err)
	}
	sock.SetDeadline(time.Time{})
	return &live{c}, nil
}

func (l *live) Close() error { return l.conn.Close() }

// answer reads frames up to the one that ends the answer.
func (l *live) answer(f func(*ipc.Frame) error) (*proto.Done, error) {
	for {
		fr, err := l.conn.Next()
		if err != nil {
			return nil, fmt.Errorf("the queue manager went away before it had answered: %w", err)
		}
		fr.CloseFDs()
		if fr.Type == proto.TypeDone {
			var d proto.Done
			if err := d.Decode(fr.Payload); err != nil {
				return nil, err
			}
			if d.Code != 0 {
				return nil, &Error{d.Code, d.Text}
			}
			return &d, nil
		}
		if err := f(&fr); err != nil {
			return nil, err
		}
	}
}

func (l *live) List(req *proto.List, f func(*proto.Item) error) error {
	if err := l.conn.Send(proto.TypeList, req); err != nil {
		return err
	}
	_, err := l.answer(items(f))
	return err
}

func items(f func(*proto.Item) error) func(*ipc.Frame) error {
	return func(fr *ipc.Frame) error {
		var it proto.Item
		if fr.Type != proto.TypeItem {
			return ipc.ErrFrame
		}
		if err := it.Decode(fr.Payload); err != nil {
			return err
		}
		return f(&it)
	}
}

// verbIDs is how many ids go in one request, well below the limit of a frame.
const verbIDs = 10000

func (l *live) Do(v *proto.Verb) (*proto.Done, error) {
	sum := &proto.Done{}
	for ids := v.IDs; ; {
		part := *v
		part.IDs, ids = ids[:min(len(ids), verbIDs)], ids[min(len(ids), verbIDs):]
		if err := l.conn.Send(proto.TypeVerb, &part); err != nil {
			return nil, err
		}
		d, err := l.answer(func(*ipc.Frame) error { return ipc.ErrFrame })
		if err != nil {
			return nil, err
		}
		sum.IDs = append(sum.IDs, d.IDs...)
		sum.Skipped = append(sum.Skipped, d.Skipped...)
		sum.Count += d.Count
		sum.InHand += d.InHand
		if len(ids) == 0 {
			return sum, nil
		}
	}
}

func (l *live) Cat(ids []string, head func(*proto.Item) error, w io.Writer) error {
	if err := l.conn.Send(proto.TypeVerb, &proto.Verb{Kind: proto.VerbCat, IDs: ids}); err != nil {
		return err
	}
	_, err := l.answer(func(fr *ipc.Frame) error {
		if fr.Type == proto.TypeContent {
			_, err := w.Write(fr.Payload)
			return err
		}
		return items(head)(fr)
	})
	return err
}
