// Package postqueue is the postqueue command: it lists the mail queue and asks for a
// delivery attempt, like Postfix's postqueue(1). mailq and sendmail -bp run it.
package postqueue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"postrider/lib/config"
	"postrider/lib/mailq"
	"postrider/lib/operator"
	"postrider/lib/proto"
)

// options are the command line. Exactly one of the first five is given.
type options struct {
	Text    bool   `short:"p" xor:"what" help:"List the queue in the traditional format."`
	JSON    bool   `short:"j" name:"json" xor:"what" help:"List the queue, one JSON object a line."`
	Flush   bool   `short:"f" xor:"what" help:"Try to deliver everything that is deferred now."`
	ID      string `short:"i" name:"id" xor:"what" placeholder:"ID" help:"Try to deliver this deferred message now."`
	Site    string `short:"s" xor:"what" placeholder:"SITE" help:"Not supported yet: flush the mail for one site."`
	Config  string `short:"c" placeholder:"DIR" help:"Configuration directory (or MAIL_CONFIG)."`
	Verbose []bool `short:"v" help:"Accepted for compatibility."`
}

// sysexits.
const (
	exUsage       = 64
	exUnavailable = 69
	exSoftware    = 70
	exConfig      = 78
)

// Main runs the command and ends the process.
func Main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(_ context.Context, args []string, stdout, stderr io.Writer) int {
	fatal := func(code int, format string, a ...any) int {
		fmt.Fprintf(stderr, "postqueue: fatal: "+format+"\n", a...)
		return code
	}
	var o options
	ended := -1
	k, err := kong.New(&o, kong.Name("postqueue"), kong.Description("List the mail queue, or flush it."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { ended = code }))
	if err != nil {
		return fatal(exSoftware, "%v", err)
	}
	_, err = k.Parse(args)
	if ended >= 0 {
		return ended
	}
	if err != nil {
		return fatal(exUsage, "%v (usage: postqueue -p | -j | -f | -i ID)", err)
	}
	if !o.Text && !o.JSON && !o.Flush && o.ID == "" {
		if o.Site != "" {
			return fatal(exUnavailable, "-s is not supported yet: use postqueue -f, or -i for one message")
		}
		return fatal(exUsage, "usage: postqueue -p | -j | -f | -i ID")
	}
	cfg, problems := config.Load(config.Dir(o.Config))
	if err := problems.Err(); err != nil {
		return fatal(exConfig, "%v", err)
	}
	if o.Flush || o.ID != "" {
		return o.flush(cfg, fatal)
	}
	return o.list(cfg, stdout, stderr, fatal)
}

func (o *options) flush(cfg *config.Config, fatal func(int, string, ...any) int) int {
	q, _, err := operator.Open(cfg, false)
	if errors.Is(err, operator.ErrDown) {
		return fatal(exUnavailable, "Cannot flush mail queue - mail system is down")
	}
	if err != nil {
		return fatal(exUnavailable, "Cannot flush mail queue - %v", err)
	}
	defer q.Close()
	v := &proto.Verb{Kind: proto.VerbFlush}
	if o.ID != "" {
		v.IDs = []string{o.ID}
	}
	if _, err := q.Do(v); err != nil {
		return fatal(operator.ExitCode(err), "Cannot flush mail queue - %v", err)
	}
	return 0
}

// lister is a form of listing.
type lister interface {
	Item(*proto.Item)
	Close() error
}

func (o *options) list(cfg *config.Config, stdout, stderr io.Writer, fatal func(int, string, ...any) int) int {
	// Who may read the spool may list it while the system is down.
	q, down, err := operator.Open(cfg, true)
	if down && (errors.Is(err, os.ErrPermission) || errors.Is(err, operator.ErrDown)) {
		return fatal(exUnavailable, "Queue report unavailable - mail system is down")
	}
	if err != nil {
		return fatal(exUnavailable, "Queue report unavailable - %v", err)
	}
	defer q.Close()
	if down {
		fmt.Fprintln(stderr, "postqueue: warning: Mail system is down -- accessing queue directly")
	}
	var w lister
	if o.JSON {
		w = mailq.NewJSON(stdout)
	} else {
		w = mailq.NewText(stdout, cfg.String("empty_address_recipient"))
	}
	if err := q.List(&proto.List{}, func(it *proto.Item) error { w.Item(it); return nil }); err != nil {
		return fatal(operator.ExitCode(err), "Queue report unavailable - %v", err)
	}
	if err := w.Close(); err != nil {
		return fatal(exSoftware, "%v", err)
	}
	return 0
}
