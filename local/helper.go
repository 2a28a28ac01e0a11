package local

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/ipc"
	"postrider/lib/mail"
)

// helperArg makes a helper of this program.
const helperArg = "-helper"

// helperTime is how long a helper may take; a file server may hang. Tests have less.
var helperTime = 10 * time.Minute

const (
	// maxBlock bounds a block of the conversation, in bytes.
	maxBlock = 128 << 10
	// maxAnswer bounds what a helper may say.
	maxAnswer = 1000
)

// The conversation: blocks, each behind its length in four bytes, big end first. The
// first has directory and host; then comes the message; an empty block says that it is
// complete. A helper that sees the end before that leaves nothing behind. It answers
// with one byte, a kind, and a text.

// runHelper delivers with the rights of a. Nothing of the user's is touched before the
// helper has become him, and all it holds is the message and the way to answer.
func runHelper(a *account, m maildir, fill func(io.Writer) error) mail.Status {
	ctx, cancel := context.WithTimeout(context.Background(), helperTime)
	defer cancel()
	self, err := executable()
	if err != nil {
		return deferred("4.3.0", "cannot start a helper: "+err.Error())
	}
	cmd := exec.CommandContext(ctx, self, helperArg)
	cmd.Args[0] = "local"
	cmd.Dir, cmd.Env = "/", []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true,
		Credential: &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}}
	in, err := cmd.StdinPipe()
	if err != nil {
		return deferred("4.3.0", "cannot start a helper: "+err.Error())
	}
	answer := &limited{}
	cmd.Stdout = answer
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return deferred("4.3.0", "cannot start a helper: "+err.Error())
	}

	w := bufio.NewWriterSize(blocks{in}, 32<<10)
	err = writeBlock(in, ipc.AppendString(ipc.AppendString(nil, m.dir), m.host))
	if err == nil {
		if err = fill(w); err == nil {
			err = w.Flush()
		}
	}
	if err == nil {
		err = writeBlock(in, nil)
	}
	in.Close()
	end := cmd.Wait()
	if err != nil && !errors.Is(err, unix.EPIPE) {
		return statusOf(err) // ours; the helper has thrown away what it had
	}
	if b := answer.b; len(b) > 0 {
		return mailboxStatus(kind(b[0]), string(b[1:]))
	}
	return deferred("4.3.0", fmt.Sprintf("the helper for %s ended without an answer: %v", a.name, end))
}

// executable is this program. On Linux by way of what is running now, which needs no
// right to the directories above the file, and is never another version.
func executable() (string, error) {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err == nil {
		return self, nil
	}
	return os.Executable()
}

// limited keeps the beginning of what is written to it.
type limited struct{ b []byte }

func (l *limited) Write(p []byte) (int, error) {
	l.b = append(l.b, p[:min(len(p), maxAnswer-len(l.b))]...)
	return len(p), nil
}

// blocks writes each piece as a block.
type blocks struct{ w io.Writer }

func (b blocks) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), maxBlock)
		if err := writeBlock(b.w, rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

func writeBlock(w io.Writer, p []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(p)), uint32(len(p))), p...))
	return err
}

// errCut says that the message did not come whole.
var errCut = errors.New("the message was cut short")

// readBlock reads a block into buf; it is empty at the end of the message.
func readBlock(r io.Reader, buf []byte) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, errCut
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxBlock {
		return nil, errCut
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return nil, errCut
	}
	return buf[:n], nil
}

// helper is the process that has the recipient's rights: it makes one delivery.
func helper(in io.Reader, out io.Writer) int {
	unix.Umask(0o077)
	err := help(bufio.NewReaderSize(in, 64<<10))
	answer := []byte{byte(kindOf(err))}
	if err != nil {
		answer = append(answer, err.Error()...)
	}
	if _, err := out.Write(answer); err != nil {
		return 1
	}
	return 0
}

func help(in io.Reader) error {
	buf := make([]byte, maxBlock)
	first, err := readBlock(in, buf)
	if err != nil {
		return err
	}
	d := ipc.NewDecoder(first)
	m := maildir{dir: d.String(), host: d.String()}
	if err := d.End(); err != nil {
		return err
	}
	return m.deliver(func(w io.Writer) error {
		for {
			b, err := readBlock(in, buf)
			if err != nil || len(b) == 0 {
				return err
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
	})
}
