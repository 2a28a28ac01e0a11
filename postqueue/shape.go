package postqueue

import (
	"os"
	"slices"

	"postrider/lib/mailq"
	"postrider/lib/proto"
	"postrider/lib/sysexits"
)

// shapeOptions are the command line with -q: those of qshape that make sense where no
// directory is read.
type shapeOptions struct {
	Shape   bool     `short:"q" required:"" help:"Count the queue by domain and age."`
	Sender  bool     `short:"s" help:"By the sender's domain: messages instead of recipients."`
	Class   bool     `short:"C" help:"By the virtual queue of sched.cf."`
	Quotas  bool     `short:"Q" help:"Instead: how much of each quota of sched.cf is used."`
	Linear  bool     `short:"l" help:"Buckets of equal width."`
	Buckets int      `short:"b" default:"10" placeholder:"N" help:"How many buckets of age."`
	Tick    int      `short:"t" default:"5" placeholder:"MINUTES" help:"Age limit of the first bucket."`
	Top     int      `short:"n" default:"-1" placeholder:"N" help:"How many domains; 0: all. On a terminal 20."`
	Width   int      `short:"w" default:"80" placeholder:"N" help:"Columns, at least 80."`
	Config  string   `short:"c" placeholder:"DIR" help:"Configuration directory (or MAIL_CONFIG)."`
	Verbose []bool   `short:"v" help:"Accepted for compatibility."`
	Queues  []string `arg:"" optional:"" name:"queue" help:"maildrop, incoming, active, deferred, hold; default: incoming, active and deferred."`
}

var shapeQueues = []string{"maildrop", "incoming", "active", "deferred", "hold"}

func (c *command) shape(args []string) int {
	var o shapeOptions
	if code, ok := c.parse(&o, args); !ok {
		return code
	}
	if o.Buckets < 1 || o.Buckets > proto.ShapeBuckets || o.Tick < 1 || o.Tick > 1e6 {
		return c.fatal(sysexits.Usage, "-b takes 1 to %d, -t at least one minute", proto.ShapeBuckets)
	}
	for _, name := range o.Queues {
		if !slices.Contains(shapeQueues, name) {
			return c.fatal(sysexits.Usage, "no queue %q: there are maildrop, incoming, active, deferred and hold", name)
		}
	}
	if code, ok := c.load(o.Config); !ok {
		return code
	}
	if len(o.Queues) == 0 {
		o.Queues = []string{"incoming", "active", "deferred"}
	}
	if st, err := os.Stdout.Stat(); o.Top < 0 {
		if o.Top = 0; err == nil && c.stdout == os.Stdout && st.Mode()&os.ModeCharDevice != 0 {
			o.Top = 20
		}
	}
	q, code, ok := c.open()
	if !ok {
		return code
	}
	defer q.Close()
	s := &proto.Shape{Queues: o.Queues, Sender: o.Sender, Class: o.Class, Quotas: o.Quotas, Linear: o.Linear, Buckets: uint32(o.Buckets), Tick: uint32(o.Tick), Top: uint32(o.Top)}
	rows, err := q.Shape(s)
	if err != nil {
		return c.failed(unavailable, "view", err)
	}
	if o.Quotas {
		if err := mailq.WriteQuotas(c.stdout, rows); err != nil {
			return c.fatal(sysexits.Software, "%v", err)
		}
		return 0
	}
	if err := mailq.WriteShape(c.stdout, s, rows, o.Width); err != nil {
		return c.fatal(sysexits.Software, "%v", err)
	}
	return 0
}
