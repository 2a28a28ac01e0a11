package hostile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/ipc"
	"postrider/lib/proto"
)

// attacks are what an attacker does until stop is closed. Each says ready when it is
// under way, and counts what it got.
var attacks = map[string]func(c *counts, stop <-chan struct{}){
	"qmgr":     func(c *counts, stop <-chan struct{}) { connections(c, stop, proto.OperatorSocket) },
	"pickup":   func(c *counts, stop <-chan struct{}) { connections(c, stop, "public/pickup") },
	"half":     halfFrames,
	"deaf":     deaf,
	"loops":    func(c *counts, stop <-chan struct{}) { loops(c, stop, "postqueue", "-p") },
	"harmless": func(c *counts, stop <-chan struct{}) { loops(c, stop, "postqueue", "--help") },
	"maildrop": litter,
}

// counts are numbers by name, of many goroutines.
type counts struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counts) add(name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[name] += n
}

func attacker(what string) int {
	c := &counts{n: map[string]int{}}
	stop := make(chan struct{})
	go func() { io.Copy(io.Discard, os.Stdin); close(stop) }()
	attacks[what](c, stop)
	json.NewEncoder(os.Stdout).Encode(c.n)
	return 0
}

func ready() { fmt.Println("ready") }

func socket() string { return filepath.Join(os.Getenv("QUEUE"), proto.OperatorSocket) }

// dial connects as a simple program does: it waits while there is no room.
func dial(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 1})
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// connections makes 10,000 connections and keeps all that are not closed; what is closed
// is made again, without end.
func connections(c *counts, stop <-chan struct{}, name string) {
	const want = 10000
	unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: want + 100, Max: want + 100})
	path := filepath.Join(os.Getenv("QUEUE"), name)
	var fds []int
	for n := 0; ; n++ {
		if n == 300 {
			ready()
		}
		select {
		case <-stop:
			c.add("made", n)
			return
		default:
		}
		fd, err := dial(path)
		if err != nil {
			if !errors.Is(err, unix.EAGAIN) {
				time.Sleep(time.Millisecond)
			}
			continue
		}
		if fds = append(fds, fd); len(fds) >= want {
			unix.Close(fds[0])
			fds = fds[1:]
		}
	}
}

// halfFrames says hello and sends a part of a request, on all connections it can get.
// When one is closed it counts that.
func halfFrames(c *counts, stop <-chan struct{}) {
	var wg sync.WaitGroup
	var began atomic.Int32
	hello := ipc.AppendFrame(nil, ipc.TypeHello, &ipc.Hello{Protocol: proto.OperatorName, Version: proto.OperatorVersion})
	for k := range 100 {
		wg.Go(func() {
			for {
				fd, err := dial(socket())
				if err != nil {
					return
				}
				half := [][]byte{hello, hello[:4], append(hello[:len(hello):len(hello)], 0xff, 0x70, 0, 0, proto.TypeList, 0, 1, 2, 3), nil}[k%4]
				unix.Write(fd, half)
				f := os.NewFile(uintptr(fd), "socket")
				if began.Add(1) == 100 {
					ready()
				}
				at := time.Now()
				unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100000})
				var b [4096]byte
				for {
					n, err := unix.Read(fd, b[:])
					if n == 0 || err != nil && err != unix.EAGAIN && err != unix.EINTR {
						if held := time.Since(at); held > 5*time.Second {
							c.add("timed out", 1)
						} else {
							c.add("refused", 1)
						}
						break
					}
					select {
					case <-stop:
						c.add("open", 1)
						f.Close()
						return
					default:
					}
				}
				f.Close()
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
	}
	wg.Wait()
}

// deaf asks for listings and reads nothing.
func deaf(c *counts, stop <-chan struct{}) {
	b := ipc.AppendFrame(nil, ipc.TypeHello, &ipc.Hello{Protocol: proto.OperatorName, Version: proto.OperatorVersion})
	b = ipc.AppendFrame(b, proto.TypeList, &proto.List{})
	for range 100 {
		if fd, err := dial(socket()); err == nil {
			unix.Write(fd, b)
			c.add("asked", 1)
		}
	}
	ready()
	<-stop
}

// loops runs a command in fifty loops.
func loops(c *counts, stop <-chan struct{}, name string, args ...string) {
	var wg sync.WaitGroup
	var runs atomic.Int32 // the first of each loop come all at once
	for range 50 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if runs.Add(1) == 100 {
					ready()
				}
				cmd := exec.Command(filepath.Join(os.Getenv("BIN"), name), args...)
				cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
				out, err := cmd.CombinedOutput()
				if err != nil {
					c.add(fmt.Sprintf("%.100s", out), 1)
				} else {
					c.add("done", 1)
				}
			}
		})
	}
	wg.Wait()
}

// litter fills maildrop/ with what is no mail, and has the reader look all the time. The
// attacker has got postdrop's group.
func litter(c *counts, stop <-chan struct{}) {
	names, _ := strconv.Atoi(os.Getenv("NAMES"))
	if err := os.Chdir(filepath.Join(os.Getenv("QUEUE"), "maildrop")); err != nil {
		fmt.Println(err)
		return
	}
	for n := range 20 {
		k := strconv.Itoa(n)
		unix.Mkfifo("FIFO"+k, 0o666)
		os.Symlink("/etc/shadow", "SYMLINK"+k)
		os.Symlink("FIFO"+k, "TOFIFO"+k)
		os.Symlink("/dev/zero", "ZERO"+k)
		os.Mkdir("DIR"+k, 0o777)
		os.WriteFile("HARD"+k, []byte("x"), 0o666)
		os.Link("HARD"+k, "HARDER"+k)
		os.WriteFile("SPARSE"+k, []byte("\x7fPRDROP\x01"), 0o666)
		os.Truncate("SPARSE"+k, 1<<40)
		os.WriteFile("FLAT"+k, []byte("\x7fPRDROP\x01"), 0o666)
		os.Truncate("FLAT"+k, 15<<20)
		os.WriteFile("SHUT"+k, []byte("\x7fPRDROP\x01"), 0)
		os.WriteFile("bad name "+k, nil, 0o666)
	}
	for n := range names {
		unix.Mknod("N"+strconv.Itoa(n), unix.S_IFREG|0o644, 0)
	}
	c.add("names", names)
	ready()
	for {
		select {
		case <-stop:
			return
		default:
		}
		if fd, err := dial("../public/pickup"); err == nil {
			unix.Close(fd)
			c.add("wishes", 1)
		}
	}
}
