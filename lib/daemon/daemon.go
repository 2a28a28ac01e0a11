package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"postrider/lib/config"
	"postrider/lib/ipc"
	"postrider/lib/maillog"
	"postrider/lib/proto"
	"postrider/lib/table"
)

// Daemon is one running daemon process. Its methods may be called from any
// goroutine.
type Daemon struct {
	Program string          // "smtpd"
	Number  int             // which process of the program, from 0
	Of      int             // how many processes of the program there are
	Log     *maillog.Logger // tag "postfix/smtpd", number: the process id

	conn     *ipc.Conn
	config   atomic.Pointer[config.Config]
	stopping chan struct{}
	end      context.CancelFunc // master wants the daemon gone

	mu        sync.Mutex
	grants    grants
	staged    grants // of a round that is not complete
	next      *config.Config
	services  map[string]service
	onPartner func(string, *net.UnixConn)
	onReload  func()
	onDied    func(proto.Died)
	ready     bool
	dials     map[string][]chan dialed
	pending   []func() // what waits for Ready
	first     []string // partners of the first round
	calls     chan func()
	stopped   bool
	until     time.Time // when the grace of a stop ends
	locks     []*os.File
	fault     string   // of the process before, see Fault
	notes     *os.File // see Suspects
	strikes   *os.File
}

type service struct {
	line   config.Service
	config *config.Config
}

// newDaemon speaks with master over sock. It does the first round: when it
// returns, everything master wanted to give before Go is there.
func newDaemon(program string, sock *net.UnixConn, log *maillog.Logger) (*Daemon, context.Context, error) {
	ctx, cancel := context.WithCancel(context.Background())
	d := &Daemon{Program: program, Log: log, conn: ipc.New(sock, 0), end: cancel,
		stopping: make(chan struct{}), calls: make(chan func(), 64)}
	d.grants.init()
	d.staged.init()
	if _, err := d.conn.Greet(ipc.Hello{Protocol: proto.ControlName, Version: proto.ControlVersion}); err != nil {
		cancel()
		return nil, nil, err
	}
	for d.config.Load() == nil {
		if err := d.hear(); err != nil {
			cancel()
			return nil, nil, fmt.Errorf("setting up: %w", err)
		}
		if d.stopped { // before it began
			break
		}
	}
	if d.config.Load() == nil {
		cancel()
		return nil, nil, errStopped
	}
	return d, ctx, nil
}

var errStopped = errors.New("stopped before the start")

// Config returns the current configuration; after a reload, the new one.
func (d *Daemon) Config() *config.Config { return d.config.Load() }

// Service returns a line of master.cf, by "name/type" such as "smtp/inet" or
// "relay/unix", or by a listener's name, and the configuration with the line's
// -o options. Without such a line the Service is zero and the configuration
// main.cf's.
func (d *Daemon) Service(name string) (config.Service, *config.Config) {
	c := d.Config()
	name = lineOf(name)
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return config.Service{}, c
	}
	line, ok := c.Service(name[:i], name[i+1:])
	if !ok {
		return config.Service{}, c
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, ok := d.services[name]; ok && d.config.Load() == c {
		return s.line, s.config
	}
	own, err := c.ForService(line)
	if err != nil { // master checked it
		d.Log.Errorf("%s: %v; its -o options are left out", name, err)
		own = c
	}
	if d.services == nil {
		d.services = map[string]service{}
	}
	if d.config.Load() == c {
		d.services[name] = service{line, own}
	}
	return line, own
}

// Tag returns the tag for log lines of a service: "postfix/submission/smtpd"
// when its -o options set syslog_name to "postfix/submission".
func (d *Daemon) Tag(c *config.Config) string { return c.String("syslog_name") + "/" + d.Program }

// Listeners returns the listening sockets by name: "smtp/inet", "public/qmgr".
// A line of master.cf that listens on several addresses has more than one:
// "smtp/inet" and "smtp/inet@192.0.2.1:25"; Service takes either. After a reload there may be more, or fewer: those are closed.
func (d *Daemon) Listeners() map[string]net.Listener {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := make(map[string]net.Listener, len(d.grants.listeners))
	for name, l := range d.grants.listeners {
		m[name] = l
	}
	return m
}

// OnPartner sets what is called with each connected socket to another daemon,
// now and whenever one was restarted: the socket of that name that came before
// is dead then, or soon. To be set before Ready. Calls of OnPartner and
// OnReload come one after the other.
func (d *Daemon) OnPartner(f func(name string, sock *net.UnixConn)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onPartner = f
}

// Talk sets who serves the sockets of partners, by program: "smtpd" stands for smtpd.0,
// smtpd.1, ... To be called before Ready, in place of OnPartner.
func (d *Daemon) Talk(by map[string]func(sock *net.UnixConn)) {
	d.OnPartner(func(name string, sock *net.UnixConn) {
		program, _, _ := strings.Cut(name, ".")
		if f := by[program]; f != nil {
			f(sock)
			return
		}
		d.Log.Warnf("a socket to %q is of no use to %s", name, d.Program)
		sock.Close()
	})
}

// Partners returns the names of the partners that master gave before the first
// Go: those that were alive when this daemon was started.
func (d *Daemon) Partners() []string { return d.first }

// OnReload sets what is called when Config, Listeners and files have become
// new. To be set before Ready.
func (d *Daemon) OnReload(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onReload = f
}

// Opener reads the granted files, for package table.
func (d *Daemon) Opener() table.Opener { return d.open }

func (d *Daemon) open(path string) (*io.SectionReader, error) {
	d.mu.Lock()
	f := d.grants.files[path]
	d.mu.Unlock()
	if f == nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// The reader keeps f from being closed.
	return io.NewSectionReader(f, 0, st.Size()), nil
}

// Files returns the paths of the granted files.
func (d *Daemon) Files() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.grants.files))
}

// Owner returns the user id of the owner of a granted file, 0 when it is not known.
func (d *Daemon) Owner(path string) uint32 {
	d.mu.Lock()
	f := d.grants.files[path]
	d.mu.Unlock()
	if f == nil {
		return 0
	}
	st, err := f.Stat()
	if err != nil {
		return 0
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return sys.Uid
	}
	return 0
}

// maxFile bounds what File reads into memory.
const maxFile = 16 << 20

// File returns the contents of a granted file, such as /etc/resolv.conf. The
// error is fs.ErrNotExist when master did not find it.
func (d *Daemon) File(path string) ([]byte, error) {
	r, err := d.open(path)
	if err != nil {
		return nil, err
	}
	if r.Size() > maxFile {
		return nil, fmt.Errorf("read %s: larger than %d bytes", path, maxFile)
	}
	b := make([]byte, r.Size())
	n, err := io.ReadFull(r, b)
	if err == io.ErrUnexpectedEOF || err == io.EOF {
		err = nil
	}
	return b[:n], err
}

// Ready tells master that the daemon serves. From then on partners, those that
// came already included, and reloads are delivered.
func (d *Daemon) Ready() {
	d.mu.Lock()
	if d.ready {
		d.mu.Unlock()
		return
	}
	d.ready = true
	pending := d.pending
	d.pending = nil
	d.mu.Unlock()
	go func() {
		go debug.FreeOSMemory() // what reading the configuration left
		for _, f := range pending {
			Guard(f)
		}
		for f := range d.calls {
			Guard(f)
		}
	}()
	if err := d.conn.Send(proto.TypeReady, nil); err != nil {
		d.stop(0, false) // master is gone
	}
}

// Silent tells master that a partner does not speak, so that it is killed.
func (d *Daemon) Silent(partner string) {
	if err := d.conn.Send(proto.TypeSilent, &proto.Silent{Partner: partner}); err != nil {
		d.stop(0, false) // master is gone
	}
}

// Stopping is closed when master asks for the end, or is gone: take nothing
// new, finish what is in hand, return.
func (d *Daemon) Stopping() <-chan struct{} { return d.stopping }

// UntilStop returns when the daemon is to stop, with a context that ends with the time
// that it may still take.
func (d *Daemon) UntilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	select {
	case <-d.Stopping():
	case <-ctx.Done():
	}
	return context.WithTimeout(ctx, d.Grace())
}

// Grace returns how much longer the daemon may take after Stopping.
func (d *Daemon) Grace() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stopped {
		return d.Config().Duration("stop_grace")
	}
	return max(0, time.Until(d.until))
}

// call has f called in the order of calls, after Ready. The caller holds mu.
func (d *Daemon) call(f func()) {
	if !d.ready {
		d.pending = append(d.pending, f)
		return
	}
	d.mu.Unlock()
	d.calls <- f
	d.mu.Lock()
}
