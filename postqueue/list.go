package postqueue

import (
	"errors"
	"fmt"
	"os"

	"postrider/lib/mailq"
	"postrider/lib/operator"
	"postrider/lib/progress"
	"postrider/lib/proto"
	"postrider/lib/sysexits"
)

// unavailable begins what is said when the queue cannot be listed.
const unavailable = "Queue report unavailable"

// open reaches the queue, also when the system is down: who may read the spool may list
// it then. The caller closes it, unless ok is false: then code ends the run.
func (c *command) open() (q operator.Queue, code int, ok bool) {
	q, down, err := operator.Open(c.cfg, true)
	if down && (errors.Is(err, os.ErrPermission) || errors.Is(err, operator.ErrDown)) {
		return nil, c.fatal(sysexits.Unavailable, unavailable+" - mail system is down"), false
	}
	if err != nil {
		return nil, c.fatal(sysexits.Unavailable, unavailable+" - %v", err), false
	}
	if down {
		fmt.Fprintln(c.stderr, "postqueue: warning: Mail system is down -- accessing queue directly")
	}
	return q, 0, true
}

// lister is a form of listing.
type lister interface {
	Item(*proto.Item)
	Close() error
}

func (c *command) list(o *options) int {
	if code, ok := c.load(o.Config); !ok {
		return code
	}
	q, code, ok := c.open()
	if !ok {
		return code
	}
	defer q.Close()
	var w lister
	if o.JSON {
		w = mailq.NewJSON(c.stdout)
	} else {
		w = mailq.NewText(c.stdout, c.cfg.String("empty_address_recipient"))
	}
	var wait *progress.Line
	if !progress.Terminal(c.stdout) { // there the listing itself shows that it goes on
		wait = progress.Start(c.stderr, "postqueue: listing")
	}
	err := q.List(&proto.List{}, func(it *proto.Item) error { w.Item(it); wait.Add(); return nil })
	wait.Stop()
	if err != nil {
		return c.failed(unavailable, "view", err)
	}
	if err := w.Close(); err != nil {
		return c.fatal(sysexits.Software, "%v", err)
	}
	return 0
}
