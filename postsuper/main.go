// Package postsuper is the postsuper command: it puts mail on hold, releases, deletes,
// requeues and expires it, like Postfix's postsuper(1), through qmgr while the mail
// system runs and on the locked spool when it does not. What it reports is on the
// disk. It also extracts the mail of any spool (-x), and checks its files (-s).
package postsuper

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/alecthomas/kong"

	"postrider/lib/config"
	"postrider/lib/mail"
	"postrider/lib/operator"
	"postrider/lib/progress"
	"postrider/lib/proto"
	"postrider/lib/sysexits"
)

// options are the command line. Each list holds queue ids, ALL, or "-" for ids on
// standard input.
type options struct {
	Delete    []string `short:"d" sep:"none" placeholder:"ID" help:"Delete one message, or ALL; - reads ids from standard input."`
	Hold      []string `short:"h" sep:"none" placeholder:"ID" help:"Put on hold: no attempt is made to deliver."`
	Release   []string `short:"H" sep:"none" placeholder:"ID" help:"Release from hold."`
	Expire    []string `short:"e" sep:"none" placeholder:"ID" help:"Return to the sender at the next attempt."`
	ExpireAll []string `short:"f" sep:"none" placeholder:"ID" help:"The same, also from hold."`
	Requeue   []string `short:"r" sep:"none" placeholder:"ID" help:"Queue again from the start, under a new id."`
	Extract   string   `short:"x" placeholder:"OUT" help:"Write every unfinished message, of the queue directory named or the configured one, into the new folder OUT: ID.eml and ID.envelope."`
	Purge     bool     `short:"p" help:"Accepted: the queue manager purges by itself."`
	Structure bool     `short:"s" help:"Check every file of the queue directory named or the configured one, and change nothing."`
	Names     bool     `short:"S" help:"As -s."`
	Config    string   `short:"c" placeholder:"DIR" help:"Configuration directory (or MAIL_CONFIG)."`
	Verbose   []bool   `short:"v" help:"Accepted for compatibility."`
	Help      bool     `help:"Show this help."`
	Queues    []string `arg:"" optional:"" name:"queue" help:"Only in these queues: incoming, active, deferred, hold. With -x or -s: the queue directory."`
}

// Main runs the command and ends the process.
func Main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

type verb struct {
	kind    proto.VerbKind
	each    string // for one message
	doing   string // while it lasts
	summary string
	ids     func(*options) []string
}

// verbs are the verbs in the order in which they are carried out, with their lines.
var verbs = []verb{
	{proto.VerbRequeue, "requeued", "requeuing", "Requeued", func(o *options) []string { return o.Requeue }},
	{proto.VerbDelete, "removed", "deleting", "Deleted", func(o *options) []string { return o.Delete }},
	{proto.VerbExpire, "expired", "expiring", "Force-expired", func(o *options) []string { return o.Expire }},
	{proto.VerbExpireAll, "expired", "expiring", "Force-expired", func(o *options) []string { return o.ExpireAll }},
	{proto.VerbHold, "placed on hold", "putting on hold", "Placed on hold", func(o *options) []string { return o.Hold }},
	{proto.VerbRelease, "released from hold", "releasing", "Released from hold", func(o *options) []string { return o.Release }},
}

func run(_ context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	say := func(format string, a ...any) { fmt.Fprintf(stderr, "postsuper: "+format+"\n", a...) }
	fatal := func(code int, format string, a ...any) int { say("fatal: "+format, a...); return code }

	var o options
	k, err := kong.New(&o, kong.Name("postsuper"), kong.Description("Hold, release, delete, requeue, expire and extract queued mail."),
		kong.Writers(stdout, stderr), kong.NoDefaultHelp())
	if err != nil {
		return fatal(sysexits.Software, "%v", err)
	}
	ctx, err := k.Parse(args)
	if err != nil {
		return fatal(sysexits.Usage, "%v (usage: postsuper [-d ID] [-e ID] [-f ID] [-h ID] [-H ID] [-r ID] [-x OUT] [queue...]; ID may be ALL or -)", err)
	}
	if o.Help {
		ctx.PrintUsage(false)
		return 0
	}
	if o.Extract != "" {
		code, err := o.extract(stderr, say)
		if err != nil {
			return fatal(code, "%v", err)
		}
		return code
	}
	if o.Structure || o.Names {
		code, err := o.check(stderr, say)
		if err != nil {
			return fatal(code, "%v", err)
		}
		if code != 0 || !o.verbs() {
			return code
		}
	}
	for _, q := range o.Queues {
		if !slices.Contains([]string{"incoming", "active", "deferred", "hold"}, q) {
			return fatal(sysexits.Usage, "%q is no queue that mail can be searched in: use incoming, active, deferred or hold", q)
		}
	}
	cfg, problems := config.Load(config.Dir(o.Config))
	if err := problems.Err(); err != nil {
		return fatal(sysexits.Config, "%v", err)
	}
	log := operator.Log(cfg, "postsuper")
	defer log.Close()
	tell := func(format string, a ...any) {
		say(format, a...)
		log.Infof(format, a...)
	}
	warn := func(format string, a ...any) {
		say("warning: "+format, a...)
		log.Warnf(format, a...)
	}
	var jobs []*proto.Verb
	for _, v := range verbs {
		verb, err := o.verb(v.kind, v.ids(&o), stdin, warn)
		if err != nil {
			return fatal(sysexits.Usage, "%v", err)
		}
		jobs = append(jobs, verb)
	}
	q, down, err := operator.Open(cfg, true)
	if errors.Is(err, os.ErrPermission) {
		return fatal(sysexits.Unavailable, "use of this command is reserved for the superuser (%v)", err)
	}
	if err != nil {
		return fatal(sysexits.Unavailable, "%v", err)
	}
	defer q.Close()
	for i, verb := range jobs {
		if verb == nil {
			continue
		}
		wait := progress.Start(stderr, "postsuper: "+verbs[i].doing)
		done, err := q.Do(verb)
		wait.Stop()
		if err != nil {
			return fatal(operator.ExitCode(err), "%v", err)
		}
		for _, id := range done.IDs {
			if down { // else qmgr has written it
				log.Infof("%s: %s", id, verbs[i].each)
			}
			if !verb.All {
				say("%s: %s", id, verbs[i].each)
			}
		}
		tell("%s: %d message%s", verbs[i].summary, done.Count, plural(done.Count))
		for _, s := range done.Skipped {
			warn("%s", s)
		}
		if done.InHand > 0 {
			warn("delivery to %d recipient%s was already under way and goes on", done.InHand, plural(done.InHand))
		}
	}
	return 0
}

// verbs says whether anything is to be done to messages.
func (o *options) verbs() bool {
	return slices.ContainsFunc(verbs, func(v verb) bool { return len(v.ids(o)) > 0 })
}

// verb makes the request for one kind, or nil when it was not asked for. What is no queue
// id is passed over with a warning, as in Postfix.
func (o *options) verb(kind proto.VerbKind, ids []string, stdin io.Reader, warn func(string, ...any)) (*proto.Verb, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	v := &proto.Verb{Kind: kind, Queues: o.Queues}
	add := func(id string) {
		if !mail.QueueID(id).Valid() {
			warn("invalid mail queue id: %s", id)
			return
		}
		v.IDs = append(v.IDs, id)
	}
	for _, id := range ids {
		switch id {
		case "ALL":
			v.All = true
		case "-":
			in := bufio.NewScanner(stdin)
			for in.Scan() {
				add(in.Text())
			}
			if err := in.Err(); err != nil {
				return nil, fmt.Errorf("standard input: %w", err)
			}
		default:
			add(id)
		}
	}
	if v.All {
		v.IDs = nil
	}
	return v, nil
}

func plural(n uint64) string {
	if n == 1 {
		return ""
	}
	return "s"
}
