package postdrop

import (
	"bytes"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"postrider/lib/maildrop"
	"postrider/lib/sysexits"
)

// handTime is how long cleanup may take to read on, or to answer, in seconds.
const handTime = 600

// hand gives the message to cleanup itself, which knows from the kernel who we are: the
// way of a caller for whom set-gid has no effect (no_new_privs: systemd's
// NoNewPrivileges, containers). Then the mail system has to run. All of the input is
// read first, so that a slow caller keeps nobody else waiting.
func (e *env) hand(s *maildrop.Submission, r *maildrop.Reader, limit int64) (string, error) {
	var b bytes.Buffer
	if err := copyMessage(&b, s, r, limit); err != nil {
		return "", err
	}
	answer, err := converse(b.Bytes())
	if err != nil {
		return "", fail(sysexits.TempFail, "no right to write to %s, and cleanup does not take the message at %s: %v (is the mail system running?)",
			maildrop.Dir, maildrop.Socket, err)
	}
	line, _, whole := strings.Cut(answer, "\n")
	word, text, _ := strings.Cut(line, " ")
	code, err := strconv.Atoi(word)
	switch {
	case err != nil || !whole || code < 0 || code > 255: // it may have the message: better twice than not at all
		return "", fail(sysexits.TempFail, "cleanup did not say what became of the message")
	case code != 0:
		return "", fail(code, "%s", text)
	}
	return text, nil
}

// converse sends b to cleanup and returns what it answers.
func converse(b []byte) (string, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	for _, option := range []int{unix.SO_SNDTIMEO, unix.SO_RCVTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &unix.Timeval{Sec: handTime}); err != nil {
			return "", err
		}
	}
	if err := again(func() error { return unix.Connect(fd, &unix.SockaddrUnix{Name: maildrop.Socket}) }); err != nil {
		return "", err
	}
	for len(b) > 0 {
		n := 0
		if err := again(func() (err error) { n, err = unix.Write(fd, b); return err }); err != nil {
			break // it says why it reads no further
		}
		b = b[n:]
	}
	unix.Shutdown(fd, unix.SHUT_WR)
	answer := make([]byte, 0, 1024)
	for len(answer) < cap(answer) {
		n := 0
		if err := again(func() (err error) { n, err = unix.Read(fd, answer[len(answer):cap(answer)]); return err }); err != nil && len(answer) == 0 {
			return "", err
		}
		if n <= 0 { // the end, or a reset behind the answer, when it was not all read
			break
		}
		answer = answer[:len(answer)+n]
	}
	return string(answer), nil
}

// again makes a call until no signal interrupts it.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
