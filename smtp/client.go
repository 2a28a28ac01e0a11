package smtp

import (
	"context"
	"sync/atomic"

	"postrider/lib/agent"
	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/submit"
	"postrider/lib/transcript"
)

// client makes deliveries. All of them share its kept sessions.
type client struct {
	env   atomic.Pointer[environment]
	cache cache
	live  live

	submit  submit.Client // of notices to the postmaster
	ids     mail.IDs
	notices transcript.Sender
}

// deliver is the agent's handler.
func (c *client) deliver(ctx context.Context, r *agent.Request) proto.Result {
	env := c.env.Load()
	st := env.from(env.service(r.Service), &r.Source)
	d := newDelivery(ctx, c, env, st, r)
	d.run()
	res := d.result()
	deliveries.Put(d) // after a panic it is not put back
	return res
}

// stop ends the waits of sessions that are not past the final dot, and the idle
// sessions.
func (c *client) stop() {
	c.live.stop()
	c.cache.close()
}
