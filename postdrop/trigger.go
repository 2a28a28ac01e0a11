package postdrop

import "golang.org/x/sys/unix"

// trigger tells cleanup to look into maildrop/, if it runs. It never waits; when it
// fails the periodic look finds the message.
func trigger() {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if unix.Connect(fd, &unix.SockaddrUnix{Name: "public/pickup"}) == nil {
		unix.Write(fd, []byte("W"))
	}
}
