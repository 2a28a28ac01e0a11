// Package postsched is the operator's command for sched.cf: it says what is wrong with it,
// shows what holds, explains what becomes of one recipient or one message in the queue, and
// compiles it for the daemons (master runs that at its start and at a reload). It is the
// only program that links the language. It reads main.cf, master.cf, sched.cf and tables,
// asks qmgr and DNS, and writes nothing.
package postsched

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"postrider/lib/config"
	"postrider/lib/policy"
	"postrider/lib/schedcf"
	"postrider/lib/sysexits"
	"postrider/lib/table"
)

// options are the command line.
type options struct {
	Config string `short:"c" placeholder:"DIR" help:"Directory of main.cf and sched.cf (else MAIL_CONFIG, else ${dir})."`

	Check   checkCommand   `cmd:"" help:"Say what is wrong with sched.cf."`
	Show    showCommand    `cmd:"" help:"Show the policy that sched.cf and main.cf make together."`
	Why     whyCommand     `cmd:"" help:"Say which rule, queue, schedule and limits an address or a message in the queue has, and why."`
	Compile compileCommand `cmd:"" help:"Write the compiled policy to standard output, for the daemons."`
}

// env is where a command runs.
type env struct {
	dir            string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// errSaid is an error that the user has read already.
var errSaid = errors.New("said")

// Main runs the command and ends the process.
func Main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var o options
	exited := -1
	k, err := kong.New(&o, kong.Name("postsched"), kong.Writers(stdout, stderr), kong.Vars{"dir": config.DefaultDir},
		kong.Description("Check, show and explain the policy in sched.cf."), kong.Exit(func(code int) { exited = code }))
	if err != nil {
		panic(err) // the options above are wrong
	}
	ctx, err := k.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintf(stderr, "postsched: fatal: %v (see postsched --help)\n", err)
		return sysexits.Usage
	}
	dir, err := filepath.Abs(config.Dir(o.Config))
	if err == nil {
		err = ctx.Run(&env{dir: dir, stdin: stdin, stdout: stdout, stderr: stderr})
	}
	if err != nil && !errors.Is(err, errSaid) {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(stderr, "postsched: fatal: %s\n", strings.TrimRight(line, "\n"))
		}
	}
	if err != nil {
		return 1
	}
	return 0
}

// source returns the text of the policy: of the file, "-" for standard input, or of
// sched.cf. Without a sched.cf it is nil: Postfix's behaviour.
func (e *env) source(file string) (name string, src []byte, err error) {
	name = filepath.Join(e.dir, "sched.cf")
	switch file {
	case "-":
		src, err = io.ReadAll(io.LimitReader(e.stdin, sourceMax+1))
	case "":
		if src, err = os.ReadFile(name); errors.Is(err, os.ErrNotExist) {
			return name, nil, nil
		}
	default:
		name = file
		src, err = os.ReadFile(file)
	}
	if err == nil && len(src) > sourceMax {
		err = fmt.Errorf("%s is larger than %d bytes", name, sourceMax)
	}
	if src == nil {
		src = []byte{}
	}
	return name, src, err
}

// sourceMax is how large a sched.cf may be, bytes.
const sourceMax = 4 << 20

// read compiles the policy beside main.cf. main may be nil: then nothing is compared.
func (e *env) read(file string, main *config.Config) (*policy.Policy, schedcf.Problems, error) {
	name, src, err := e.source(file)
	if err != nil {
		return nil, nil, err
	}
	if src == nil {
		return nil, nil, nil
	}
	p, problems := schedcf.Read(name, src, schedcf.Options{Main: main, Table: func(spec string) error {
		_, err := table.Parse(spec)
		return err
	}})
	return p, problems, nil
}

// report writes problems, a line each.
func (e *env) report(problems schedcf.Problems) {
	for _, p := range problems {
		fmt.Fprintf(e.stderr, "postsched: %s\n", p)
	}
}

// policy returns the policy and main.cf, or says what is wrong with them.
func (e *env) policy(file string) (*policy.Policy, *config.Config, error) {
	c, warnings := config.Load(e.dir)
	if err := warnings.Err(); err != nil {
		return nil, nil, err
	}
	p, problems, err := e.read(file, c)
	if err != nil {
		return nil, nil, err
	}
	if problems.Err() != nil {
		e.report(problems)
		return nil, nil, errSaid
	}
	return p, c, nil
}
