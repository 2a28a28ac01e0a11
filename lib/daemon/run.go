package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"

	"postrider/lib/config"
	"postrider/lib/maillog"
)

// Exit codes of daemons, from sysexits.h.
const (
	exitUsage    = 64
	exitSoftware = 70
	exitConfig   = 78
	// exitPanic is what Go's runtime ends with, so that master sees whose fault it was.
	exitPanic = 2
)

// current is the log of the running daemon, for Guard.
var current atomic.Pointer[maillog.Logger]

// Run runs a daemon and ends the process: with 0 when serve returned nil,
// 78 for an error of kind config.ErrConfig, 2 after a panic, else 70. ctx ends when the daemon
// must be gone.
func Run(program string, serve func(ctx context.Context, d *Daemon) error) {
	os.Exit(run(program, serve))
}

func run(program string, serve func(context.Context, *Daemon) error) int {
	sock, err := master()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: this program is started by master: use \"postrider start\" (%v)\n", program, err)
		return exitUsage
	}
	switch {
	case program == "local": // its deliveries wait for the disk, at once and not one behind the other
		runtime.GOMAXPROCS(max(4, runtime.NumCPU()))
	case program != "smtpd" && runtime.NumCPU() < 8:
		runtime.GOMAXPROCS(1)
	}
	if program != "local" { // its children would inherit it
		timerSlack()
	}
	profiled(false)
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT)
	log := maillog.New("postfix/"+program, maillog.Options{})
	current.Store(log)
	defer log.Close()
	closeDoors(program, sock, log)

	d, ctx, err := newDaemon(program, sock, log)
	if errors.Is(err, errStopped) {
		return 0
	}
	if err != nil {
		return fail(program, log, err)
	}
	profiled(d.Config().Bool("daemon_profile"))
	if tag := d.Tag(d.Config()); tag != "postfix/"+program {
		d.Log = log.Named(tag)
		current.Store(d.Log)
	}
	if slices.Contains(d.Config().List("daemon_sched_batch"), program) {
		if err := schedBatch(); err != nil {
			d.Log.Warnf("cannot set SCHED_BATCH (daemon_sched_batch): %v; going on without it", err)
		}
	}
	go d.control()
	go d.onTerm()

	err = errPanic
	Guard(func() { err = serve(ctx, d) })
	if errors.Is(err, errPanic) {
		return exitPanic
	}
	if err != nil {
		return fail(program, d.Log, err)
	}
	return 0
}

var errPanic = errors.New("ended by a panic")

func fail(program string, log *maillog.Logger, err error) int {
	log.Fatalf("%v", err)
	fmt.Fprintf(os.Stderr, "%s: fatal: %v\n", program, err)
	if errors.Is(err, config.ErrConfig) {
		return exitConfig
	}
	return exitSoftware
}

// onTerm takes SIGTERM, which service managers send to every process of a
// group, as a stop.
func (d *Daemon) onTerm() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	<-c
	d.stop(d.Config().Duration("stop_grace"), true)
}
