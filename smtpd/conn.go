package smtpd

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// conn is an accepted TCP connection (net.Conn). It is a file to Go, not a connection of
// package net, which makes six system calls for each: keep-alives, which the timeouts of
// a session do not need, and the address of our side, which nobody asks for.
type conn struct {
	*os.File
	peer netip.AddrPort
}

// listening is a listener whose connections are conns.
type listening struct {
	net.Listener
	file *os.File        // the same socket; nil: it is not TCP, and package net accepts
	raw  syscall.RawConn // of file
}

// listenOn prepares l. What accepted sockets need is set here, since they inherit it.
func listenOn(l net.Listener) listening {
	t, ok := l.(*net.TCPListener)
	if !ok {
		return listening{Listener: l}
	}
	file, err := t.File()
	if err != nil {
		return listening{Listener: l}
	}
	raw, err := file.SyscallConn()
	if err == nil {
		var unset error
		err = raw.Control(func(fd uintptr) { unset = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) })
		err = errors.Join(err, unset)
	}
	if err != nil {
		file.Close()
		return listening{Listener: l}
	}
	return listening{l, file, raw}
}

// Close ends the listener and who waits in Accept.
func (l listening) Close() error {
	if l.file != nil {
		l.file.Close()
	}
	return l.Listener.Close()
}

// Accept waits for a connection. Errors are those of package net.
func (l listening) Accept() (net.Conn, error) {
	if l.file == nil {
		return l.Listener.Accept()
	}
	var fd int
	var from syscall.Sockaddr // x/sys/unix would ask for the protocol, each time
	var err error
	gone := l.raw.Read(func(s uintptr) bool {
		for {
			fd, from, err = syscall.Accept4(int(s), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if err != syscall.EINTR && err != syscall.ECONNABORTED { // it was closed while it waited
				return err != syscall.EAGAIN
			}
		}
	})
	if gone != nil {
		err = net.ErrClosed // which a file calls otherwise; it has no deadline
	}
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: err}
	}
	c := &conn{File: os.NewFile(uintptr(fd), "")}
	switch a := from.(type) {
	case *syscall.SockaddrInet4:
		c.peer = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		c.peer = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return c, nil
}

// RemoteAddr returns the client's address.
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.peer) }

// LocalAddr returns the server's address, or none.
func (c *conn) LocalAddr() net.Addr {
	raw, err := c.SyscallConn()
	if err != nil {
		return &net.TCPAddr{}
	}
	var here unix.Sockaddr
	raw.Control(func(fd uintptr) { here, _ = unix.Getsockname(int(fd)) })
	switch a := here.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	}
	return &net.TCPAddr{}
}

// CloseWrite ends our half of the connection.
func (c *conn) CloseWrite() error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if gone := raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_WR) }); gone != nil {
		return gone
	}
	return err
}
