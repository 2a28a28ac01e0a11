package ipc

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// passing says whether a failed call on a socket says nothing about the connection: the
// kernel had no memory, no room for descriptors in flight, or whatever it was, and moved
// no byte. Both ends live, nobody else would ever connect them again, and what was to be
// said would be lost; so the call is made again.
func passing(err error) bool {
	var e unix.Errno
	if !errors.As(err, &e) {
		return false // closed, the end, a deadline
	}
	switch e {
	case unix.EPIPE, unix.ECONNRESET, unix.ECONNABORTED, unix.ENOTCONN, unix.ESHUTDOWN, // the peer is gone
		unix.EBADF, unix.ENOTSOCK, unix.EINVAL, unix.EFAULT, unix.EMSGSIZE, unix.EOPNOTSUPP: // our mistakes
		return false
	}
	return true
}

// The pauses before a call is made again.
const (
	firstPause = time.Millisecond
	lastPause  = 200 * time.Millisecond
)

// persist makes a call until it succeeds or the connection is over. Closing the socket,
// or its deadline, ends it.
func persist(call func() error) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := call()
		if err == nil || !passing(err) {
			return err
		}
		time.Sleep(pause)
	}
}
