// Package postqueue is the postqueue command: it lists the mail queue, says why messages
// are in it, and asks for delivery attempts, like Postfix's postqueue(1). mailq and
// sendmail -bp run it; -q is Postfix's qshape(1).
//
//	main.go    the command line
//	list.go    -p and -j
//	flush.go   -f, -i and -s
//	why.go     -w
//	shape.go   -q
package postqueue

import (
	"fmt"
	"io"
	"os"
	"os/user"
	"regexp"
	"slices"
	"strconv"

	"github.com/alecthomas/kong"

	"postrider/lib/config"
	"postrider/lib/operator"
	"postrider/lib/sysexits"
)

// options are the command line. Exactly one of the first five is given.
type options struct {
	Text    bool   `short:"p" xor:"what" help:"List the queue in the traditional format."`
	JSON    bool   `short:"j" name:"json" xor:"what" help:"List the queue, one JSON object a line."`
	Flush   bool   `short:"f" xor:"what" help:"Try to deliver everything that is deferred now."`
	ID      string `short:"i" name:"id" xor:"what" placeholder:"ID" help:"Try to deliver this deferred message now."`
	Site    string `short:"s" xor:"what" placeholder:"SITE" help:"Try to deliver the deferred mail for the recipients of this domain now."`
	Why     bool   `short:"w" help:"Say why the messages with these ids are still in the queue (-w ID ..., with -j as JSON)."`
	Shape   bool   `short:"q" help:"Count the queue by domain and age (-q [-s | -C] [-l] [-b N] [-t MINUTES] [-n N] [QUEUE ...])."`
	Config  string `short:"c" placeholder:"DIR" help:"Configuration directory (or MAIL_CONFIG)."`
	Verbose []bool `short:"v" help:"Accepted for compatibility."`
}

// usage is Postfix's line, with what is ours behind it.
const usage = "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site | " +
	"postqueue -w [-j] queueid ... | postqueue -q [-s] [-l] [-b buckets] [-t minutes] [-n domains] [queue ...]"

// command is one run of the program.
type command struct {
	stdout, stderr io.Writer
	cfg            *config.Config
}

// Main runs the command and ends the process.
func Main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// modes with options of their own are known by a first word such as -w, -jw or -q.
var (
	whyMode   = regexp.MustCompile(`^(-[jv]*w[jv]*|--why)$`)
	shapeMode = regexp.MustCompile(`^(-v*q[vsl]*|--shape)$`)
)

func run(args []string, stdout, stderr io.Writer) int {
	c := &command{stdout: stdout, stderr: stderr}
	before := args
	if i := slices.Index(args, "--"); i >= 0 {
		before = args[:i]
	}
	switch {
	case slices.ContainsFunc(before, shapeMode.MatchString):
		return c.shape(args)
	case slices.ContainsFunc(before, whyMode.MatchString):
		return c.why(args)
	}
	var o options
	if code, ok := c.parse(&o, args); !ok {
		return code
	}
	switch {
	case o.Flush, o.ID != "", o.Site != "":
		return c.flush(&o)
	case o.Text, o.JSON:
		return c.list(&o)
	}
	return c.fatal(sysexits.Usage, usage)
}

// parse reads the command line into o. When the run is over with that, it returns the
// exit code and false.
func (c *command) parse(o any, args []string) (code int, ok bool) {
	ended := -1
	k, err := kong.New(o, kong.Name("postqueue"), kong.Description("List the mail queue, say why mail is in it, or flush it."),
		kong.Writers(c.stdout, c.stderr), kong.Exit(func(code int) { ended = code }))
	if err != nil {
		return c.fatal(sysexits.Software, "%v", err), false
	}
	_, err = k.Parse(args)
	if ended >= 0 {
		return ended, false
	}
	if err != nil {
		return c.fatal(sysexits.Usage, "%v (%s)", err, usage), false
	}
	return 0, true
}

// load reads the configuration.
func (c *command) load(dir string) (code int, ok bool) {
	var problems config.Problems
	c.cfg, problems = config.Load(config.Dir(dir))
	if err := problems.Err(); err != nil {
		return c.fatal(sysexits.Config, "%v", err), false
	}
	return 0, true
}

func (c *command) fatal(code int, format string, a ...any) int {
	fmt.Fprintf(c.stderr, "postqueue: fatal: "+format+"\n", a...)
	return code
}

// failed ends the run with what an operator.Queue answered. As in Postfix, who is not
// allowed to do a thing is told so by name.
func (c *command) failed(before, verb string, err error) int {
	code := operator.ExitCode(err)
	if code != sysexits.NoPerm {
		return c.fatal(code, "%s - %v", before, err)
	}
	name, uid := "unknown", os.Getuid()
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		name = u.Username
	}
	return c.fatal(code, "User %s(%d) is not allowed to %s the mail queue", name, uid, verb)
}
