package postqueue

import (
	"fmt"
	"time"

	"postrider/lib/mailq"
	"postrider/lib/proto"
	"postrider/lib/sysexits"
)

// whyOptions are the command line with -w.
type whyOptions struct {
	Why     bool     `short:"w" required:"" help:"Say why these messages are still in the queue."`
	JSON    bool     `short:"j" name:"json" help:"As JSON, one object a line."`
	Config  string   `short:"c" placeholder:"DIR" help:"Configuration directory (or MAIL_CONFIG)."`
	Verbose []bool   `short:"v" help:"Accepted for compatibility."`
	IDs     []string `arg:"" name:"queueid" help:"The messages."`
}

// exMissing: a message that was asked for is not in the queue.
const exMissing = 1

func (c *command) why(args []string) int {
	var o whyOptions
	if code, ok := c.parse(&o, args); !ok {
		return code
	}
	if code, ok := c.load(o.Config); !ok {
		return code
	}
	q, code, ok := c.open()
	if !ok {
		return code
	}
	defer q.Close()
	var w interface {
		Reason(*proto.Reason)
		Close() error
	}
	if o.JSON {
		w = mailq.NewWhyJSON(c.stdout)
	} else {
		w = mailq.NewWhy(c.stdout, c.cfg.String("empty_address_recipient"), time.Now())
	}
	found := map[string]bool{}
	if err := q.Why(o.IDs, func(r *proto.Reason) error { found[string(r.ID)] = true; w.Reason(r); return nil }); err != nil {
		return c.failed(unavailable, "view", err)
	}
	if err := w.Close(); err != nil {
		return c.fatal(sysexits.Software, "%v", err)
	}
	for _, id := range o.IDs {
		if !found[id] {
			fmt.Fprintf(c.stderr, "postqueue: warning: %s: not in the queue\n", id)
			code = exMissing
		}
	}
	return code
}
