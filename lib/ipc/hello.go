package ipc

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// TypeHello is the type of the first frame in each direction on every connection.
const TypeHello = 0

// Hello opens a connection: which protocol it speaks, in which version, and what
// the speaker wants to say of itself in the terms of that protocol.
type Hello struct {
	Protocol string
	Version  uint32
	Data     []byte
}

// Append implements Appender.
func (h *Hello) Append(b []byte) []byte {
	b = AppendString(b, h.Protocol)
	b = AppendUint(b, uint64(h.Version))
	return AppendString(b, h.Data)
}

// Greet sends our hello and waits for the peer's, which must name the same protocol
// and version. It returns the peer's data. Anything else is ErrFrame: an old daemon
// after an upgrade without stop and start. That the peer has closed already is no error
// before all is read that it said.
func (c *Conn) Greet(h Hello) ([]byte, error) {
	if err := c.Send(TypeHello, &h); err != nil && !errors.Is(err, unix.EPIPE) {
		return nil, err
	}
	f, err := c.Next()
	if err != nil {
		return nil, err
	}
	f.CloseFDs()
	d := NewDecoder(f.Payload)
	name, version := d.String(), d.Uint32()
	data := append([]byte(nil), d.Bytes()...)
	if f.Type != TypeHello || d.End() != nil {
		return nil, fmt.Errorf("ipc: no hello from the peer: %w", ErrFrame)
	}
	if name != h.Protocol || version != h.Version {
		return nil, fmt.Errorf("ipc: the peer speaks %q version %d, not %q version %d (stop and start the mail system after an upgrade): %w",
			name, version, h.Protocol, h.Version, ErrFrame)
	}
	return data, nil
}

// Peer is who is at the other end of a Unix socket, by the kernel's word.
type Peer struct {
	PID      int32
	UID, GID uint32
}

// PeerOf asks the kernel who connected (SO_PEERCRED).
func PeerOf(sock *net.UnixConn) (Peer, error) {
	raw, err := sock.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("ipc: peer: %w", err)
	}
	var u *unix.Ucred
	var uerr error
	if err := raw.Control(func(fd uintptr) { u, uerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return Peer{}, fmt.Errorf("ipc: peer: %w", err)
	}
	if uerr != nil {
		return Peer{}, fmt.Errorf("ipc: peer: %w", uerr)
	}
	return Peer{PID: u.Pid, UID: u.Uid, GID: u.Gid}, nil
}
