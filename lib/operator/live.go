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

	"golang.org/x/sys/unix"

	"postrider/lib/ipc"
	"postrider/lib/proto"
	"postrider/lib/sysexits"
)

// Limits of the patience with qmgr; tests have less.
var (
	helloTime  = 10 * time.Second // to take a connection and say hello
	answerTime = 30 * time.Second // between two frames of an answer: it shows that it lives (proto.TypeBusy)
)

type live struct{ conn *ipc.Conn }

// Dial connects to the queue manager of the instance whose queue directory dir is.
// The error is of kind ErrDown when there is none, and ErrRunning when it does not
// answer in time.
func Dial(dir string) (Queue, error) {
	path := filepath.Join(dir, proto.OperatorSocket)
	silent := fmt.Errorf("%w: nobody answers on %s; try again", ErrRunning, path)
	end := time.Now().Add(helloTime)
	sock, err := connect(path, helloTime)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w (nobody listens on %s)", ErrDown, path)
	case errors.Is(err, syscall.EAGAIN):
		return nil, silent
	case err != nil:
		return nil, err
	}
	c := ipc.New(sock, 0)
	sock.SetDeadline(end)
	if _, err := c.Greet(ipc.Hello{Protocol: proto.OperatorName, Version: proto.OperatorVersion}); err != nil {
		c.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, silent
		}
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w; try again", ErrRunning)
		}
		return nil, fmt.Errorf("the queue manager does not answer on %s: %w", path, err)
	}
	sock.SetDeadline(time.Time{})
	return &live{c}, nil
}

// connect waits for room in the queue of the listener, which package net does not: when
// somebody fills that queue all the time, those who wait come in by turns, and those who
// look now and then hardly ever. EAGAIN says that there was no room in time.
func connect(path string, limit time.Duration) (*net.UnixConn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	tv := unix.NsecToTimeval(int64(limit))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("setsockopt", err)
	}
	for end := time.Now().Add(limit); ; {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if err != unix.EINTR || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "connect", Path: path, Err: err}
	}
	return ipc.FromFD(fd)
}

func (l *live) Close() error { return l.conn.Close() }

// send sends a request. That qmgr has closed already is no error here: why it did
// stands in what it said before.
func (l *live) send(typ uint8, m ipc.Appender) error {
	l.conn.Socket().SetWriteDeadline(time.Now().Add(answerTime))
	err := l.conn.Send(typ, m)
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// answer reads frames up to the one that ends the answer.
func (l *live) answer(f func(*ipc.Frame) error) (*proto.Done, error) {
	for {
		l.conn.Socket().SetReadDeadline(time.Now().Add(answerTime))
		fr, err := l.conn.Next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, &Error{sysexits.TempFail, fmt.Sprintf("the queue manager has not answered for %v: whether it did what was asked is not known; try again", answerTime)}
		}
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
		if fr.Type == proto.TypeBusy {
			continue
		}
		if err := f(&fr); err != nil {
			return nil, err
		}
	}
}

func (l *live) List(req *proto.List, f func(*proto.Item) error) error {
	if err := l.send(proto.TypeList, req); err != nil {
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
		if err := l.send(proto.TypeVerb, &part); err != nil {
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
	if err := l.send(proto.TypeVerb, &proto.Verb{Kind: proto.VerbCat, IDs: ids}); err != nil {
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

func (l *live) Why(ids []string, f func(*proto.Reason) error) error {
	if err := l.send(proto.TypeWhy, &proto.Why{IDs: ids}); err != nil {
		return err
	}
	_, err := l.answer(func(fr *ipc.Frame) error {
		var r proto.Reason
		if fr.Type != proto.TypeReason {
			return ipc.ErrFrame
		}
		if err := r.Decode(fr.Payload); err != nil {
			return err
		}
		return f(&r)
	})
	return err
}

func (l *live) Shape(s *proto.Shape) (rows proto.ShapeRows, err error) {
	if err := l.send(proto.TypeShape, s); err != nil {
		return nil, err
	}
	_, err = l.answer(func(fr *ipc.Frame) error {
		var some proto.ShapeRows
		if fr.Type != proto.TypeRows {
			return ipc.ErrFrame
		}
		if err := some.Decode(fr.Payload); err != nil {
			return err
		}
		rows = append(rows, some...)
		return nil
	})
	return rows, err
}
