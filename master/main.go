// Package master is the program that supervises the others. It reads the
// configuration, makes the directories, holds the spool's lock, binds every
// listener, opens the log and the tables, and starts each daemon with the
// descriptors and the uid it needs. It restarts what dies, connects partners
// anew, reloads on SIGHUP and stops on SIGTERM. No mail passes through it.
package master

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"

	"postrider/lib/config"
)

type options struct {
	Config  string           `short:"c" placeholder:"DIR" help:"The configuration directory (else MAIL_CONFIG of the environment, else ${dir})."`
	Verb    string           `arg:"" optional:"" enum:"check,set-permissions,start,start-fg,stop,abort,reload,status,flush,logrotate,profile,run" default:"run" help:"${verbs}"`
	Process string           `arg:"" optional:"" help:"Of profile: the process, such as qmgr or smtpd.1."`
	Kind    string           `arg:"" optional:"" default:"cpu" help:"Of profile: cpu, allocs, heap, goroutine, mutex, block or stats."`
	Seconds uint32           `arg:"" optional:"" default:"10" help:"Of profile: how long to measure."`
	Version kong.VersionFlag `help:"Print the version."`
	Notify  int              `hidden:"" help:"Descriptor to close when the system is up."`
}

const verbs = "check: report what is wrong with configuration, owners and modes; set-permissions: mend owners and modes, make directories; start: start in the background; " +
	"start-fg, or nothing: run in the foreground; stop: let deliveries end, then stop; abort: stop at once; " +
	"reload: read the configuration anew; status: say whether the system runs; flush: try all deferred mail now; " +
	"logrotate: move maillog_file away, open it anew and compress the old one; " +
	"profile: write a profile of a process to standard output, with daemon_profile = yes."

// version is set by the linker.
var version = config.Version

// Exit codes, from sysexits.h where Postfix's are.
const (
	exitFailed = 1
	exitUsage  = 64
)

// Main runs the command and exits.
func Main() {
	program := filepath.Base(os.Args[0])
	var o options
	k, err := kong.New(&o, kong.Name(program), kong.Description("Start, stop and control the Postrider mail system."),
		kong.Vars{"dir": config.DefaultDir, "verbs": verbs, "version": version})
	if err != nil {
		panic(err) // the struct above
	}
	if _, err := k.Parse(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v (see %s --help)\n", program, err, program)
		os.Exit(exitUsage)
	}
	dir, err := filepath.Abs(config.Dir(o.Config))
	if err == nil {
		err = run(environment{dir: dir, notify: o.Notify}, &o)
	}
	if err != nil && !errors.Is(err, errSaid) {
		fmt.Fprintf(os.Stderr, "%s: fatal: %v\n", program, err)
	}
	if err != nil {
		os.Exit(exitFailed)
	}
}

// errSaid is an error that was already told to whom it concerns.
var errSaid = errors.New("failed")

// environment is where the command runs.
type environment struct {
	dir    string // absolute path of the configuration directory
	notify int    // descriptor to close when the system is up, or 0
}

func run(e environment, o *options) error {
	if o.Process != "" && o.Verb != "profile" {
		return fmt.Errorf("%s takes no argument %q", o.Verb, o.Process)
	}
	switch o.Verb {
	case "check":
		return e.check()
	case "set-permissions":
		return e.setPermissions()
	case "start":
		return e.start()
	case "stop":
		return e.stop()
	case "abort":
		return e.abort()
	case "reload":
		return e.reload()
	case "status":
		return e.status()
	case "flush":
		return e.flush()
	case "logrotate":
		return e.logrotate()
	case "profile":
		return e.askProfile(o)
	}
	return e.supervise()
}

// load reads the configuration and says on standard error what is wrong with it.
func (e environment) load(warnings bool) (*config.Config, config.Problems, error) {
	c, problems := config.Load(e.dir)
	for _, p := range problems {
		switch {
		case p.Severity == config.Fatal:
			fmt.Fprintf(os.Stderr, "%s: fatal: %s\n", filepath.Base(os.Args[0]), p)
		case warnings && p.Severity == config.Unused:
			fmt.Fprintf(os.Stderr, "%s: warning: %s (no parameter has this name: postconf -d lists them)\n", filepath.Base(os.Args[0]), p)
		case warnings:
			fmt.Fprintf(os.Stderr, "%s: warning: %s\n", filepath.Base(os.Args[0]), p)
		}
	}
	if problems.Err() != nil {
		return nil, nil, errSaid
	}
	return c, problems.Warnings(), nil
}
