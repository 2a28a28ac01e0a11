package local

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/agent"
)

// helperArg makes a helper of this program.
const helperArg = "-helper"

// How long a helper may take, besides the time of its command: for all it does, and until
// the user's home has answered; a file server may hang. Tests have less.
var (
	helperTime = 10 * time.Minute
	homeTime   = 20 * time.Second
)

// killTime is how long a killed helper may take to be gone. One that the kernel holds,
// waiting for a file server, stays longer, and nobody waits for it.
const killTime = 2 * time.Second

// maxBlock bounds a block of the conversation, in bytes.
const maxBlock = 128 << 10

// The conversation: blocks, each behind its length in four bytes, big end first. The
// first has the job, as JSON; then comes the message; an empty block says that it is
// complete. A helper that sees the end before that leaves nothing behind. It answers
// with a dot when the user's home has answered, and with an answer, as JSON.

// stuck counts the helpers of each uid that were killed and are not gone. While there is
// one, mail for the user waits in the queue and not in a delivery slot.
type stuck struct {
	mu sync.Mutex
	n  map[uint32]int
}

func (s *stuck) add(uid uint32, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == nil {
		s.n = map[uint32]int{}
	}
	if s.n[uid] += n; s.n[uid] == 0 {
		delete(s.n, uid)
	}
}

func (s *stuck) any(uid uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n[uid] > 0
}

var stuckHelpers stuck

// perform does a job with the rights of a, in a helper; nil are our own, and only a
// command needs a process then.
func perform(a *account, j *job, fill func(io.Writer) error) answer {
	if j.Mbox != nil {
		defer mailboxes.lock(j.Mbox.Path)()
	}
	if a != nil || j.Command != nil {
		return runHelper(a, j, fill)
	}
	var own error // of the message, not of the mailbox
	x := j.do(func() {}, func(w io.Writer) error {
		own = fill(w)
		return own
	})
	if errors.Is(own, agent.ErrContent) {
		x.Status = agent.ContentStatus
	}
	return x
}

// runHelper does a job with the rights of a. Nothing of the user's is touched before the
// helper has become him, and all it holds is the message and the way to answer.
func runHelper(a *account, j *job, fill func(io.Writer) error) answer {
	name, uid := "us", uint32(os.Getuid())
	limit := helperTime
	if j.Command != nil {
		limit += j.Command.Time
	}
	attr := &syscall.SysProcAttr{Setsid: true}
	if a != nil {
		name, uid = a.name, a.uid
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
		if j.Group {
			attr.Credential.Gid, attr.Credential.Groups = spoolGroup(filepath.Dir(j.Mbox.Path), a)
		}
	}
	if stuckHelpers.any(uid) || a != nil && !homes.enter(uid) {
		return answer{Status: deferred("4.3.0", "a delivery for "+name+" hangs: does the file system of the home directory answer?")}
	}
	leave := sync.OnceFunc(func() {
		if a != nil {
			homes.leave(uid)
		}
	})
	defer leave()
	cannot := func(err error) answer {
		return answer{Status: deferred("4.3.0", "cannot start a helper: "+err.Error())}
	}
	first, err := json.Marshal(j)
	if err != nil {
		return cannot(err)
	}
	self, err := executable()
	if err != nil {
		return cannot(err)
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), limit, errLate)
	defer cancel()
	cmd := exec.Command(self, helperArg)
	cmd.Args[0] = "local"
	cmd.Env, cmd.SysProcAttr = []string{}, attr
	in, err := cmd.StdinPipe()
	if err != nil {
		return cannot(err)
	}
	out := &firstSign{limited: limited{max: 2*maxList + 4096}, sign: make(chan struct{})}
	cmd.Stdout, cmd.WaitDelay = out, 2*time.Second
	if err := cmd.Start(); err != nil {
		return cannot(err)
	}

	fed := make(chan error, 1)
	go func() {
		w := bufio.NewWriterSize(blocks{in}, 32<<10)
		err := writeBlock(in, first)
		if err == nil && fill != nil {
			if err = fill(w); err == nil {
				err = w.Flush()
			}
			if err == nil {
				err = writeBlock(in, nil)
			}
		}
		in.Close()
		fed <- err
	}()
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	end, hangs := wait(ctx, cmd.Process, out.sign, gone, leave)
	if hangs {
		stuckHelpers.add(uid, 1)
		go func() {
			<-gone
			stuckHelpers.add(uid, -1)
		}()
		in.Close() // whoever still writes
		<-fed
		return answer{Status: deferred("4.3.0", "the delivery for "+name+" hangs: does the file system of the home directory answer?")}
	}
	if err := <-fed; err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, os.ErrClosed) {
		return answer{Status: statusOf(err)} // ours; the helper has thrown away what it had
	}
	var x answer
	if b := out.b; len(b) > 0 && b[0] == '.' && json.Unmarshal(b[1:], &x) == nil {
		return x
	}
	return answer{Status: deferred("4.3.0", fmt.Sprintf("the helper for %s ended without an answer: %v", name, end))}
}

// spoolGroup is the group of a helper that delivers in mail_spool_directory: that of the
// directory when the group may write there, as in Debian's 2775 root:mail. Then the user
// can make his mailbox and its lock there and nothing else of the group's is his.
func spoolGroup(dir string, a *account) (gid uint32, groups []uint32) {
	st, err := os.Stat(dir)
	if err != nil || st.Mode().Perm()&0o022 != 0o020 {
		return a.gid, a.groups
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return a.gid, a.groups
	}
	return sys.Gid, append([]uint32{a.gid}, a.groups...)
}

var errLate = errors.New("out of time")

// wait waits for the end of a helper, and kills it when its time is over. hangs says that
// not even that helped. reached is called when the user's home has answered.
func wait(ctx context.Context, p *os.Process, sign <-chan struct{}, gone <-chan error, reached func()) (end error, hangs bool) {
	home := time.NewTimer(homeTime)
	defer home.Stop()
	for {
		select {
		case end := <-gone:
			return end, false
		case <-sign:
			sign = nil
			home.Stop()
			reached()
			continue
		case <-home.C:
		case <-ctx.Done():
		}
		p.Kill()
		select {
		case end := <-gone:
			return end, false
		case <-time.After(killTime):
			return nil, true
		}
	}
}

// firstSign tells of the first byte that is written to it.
type firstSign struct {
	limited
	once sync.Once
	sign chan struct{}
}

func (f *firstSign) Write(p []byte) (int, error) {
	f.once.Do(func() { close(f.sign) })
	return f.limited.Write(p)
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

// helper is the process that has the recipient's rights: it does one job.
func helper(in io.Reader, out io.Writer) int {
	runtime.LockOSThread() // a command ends with the thread that started it
	unix.Umask(0o077)
	r := bufio.NewReaderSize(in, 64<<10)
	buf := make([]byte, maxBlock)
	first, err := readBlock(r, buf)
	var j job
	if err == nil {
		err = json.Unmarshal(first, &j)
	}
	if err != nil {
		return 1
	}
	dot := sync.OnceFunc(func() { out.Write([]byte{'.'}) })
	x := j.do(dot, func(w io.Writer) error {
		for {
			b, err := readBlock(r, buf)
			if err != nil || len(b) == 0 {
				return err
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
	})
	dot()
	b, err := json.Marshal(&x)
	if err == nil {
		_, err = out.Write(b)
	}
	if err != nil {
		return 1
	}
	return 0
}
