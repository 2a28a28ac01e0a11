package maillog

import (
	"strconv"
	"time"

	"postrider/lib/mail"
)

// object is a JSON object being made: the members of one line.
type object struct{ b []byte }

func (o *object) key(k string) {
	if n := len(o.b); n > 0 && o.b[n-1] != '{' {
		o.b = append(o.b, ',')
	}
	o.b = append(o.b, '"')
	o.b = append(o.b, k...)
	o.b = append(o.b, '"', ':')
}

func (o *object) str(k, v string) {
	if len(v) > maxText {
		v = v[:maxText]
	}
	o.key(k)
	o.b = appendQuoted(o.b, v)
}

// opt is str for what may be missing.
func (o *object) opt(k, v string) {
	if v != "" {
		o.str(k, v)
	}
}

func (o *object) int(k string, n int64) {
	o.key(k)
	o.b = strconv.AppendInt(o.b, n, 10)
}

func (o *object) seconds(k string, d time.Duration) {
	o.key(k)
	o.b = strconv.AppendFloat(o.b, d.Round(time.Microsecond).Seconds(), 'f', -1, 64)
}

// event names what happened and to which message.
func (o *object) event(name string, id mail.QueueID) {
	o.str("event", name)
	o.opt("queue_id", string(id))
}

func (o *object) client(c *mail.Client) {
	o.opt("client_name", c.Name)
	o.opt("client_address", c.Addr)
}

func (o *object) after(name string, e *LostConnection) {
	o.event(name, "")
	o.client(&e.Client)
	o.str("after", e.After)
	if e.Bytes > 0 {
		o.int("bytes", e.Bytes)
	}
}

func (e Connect) json(o *object) {
	o.event("connect", "")
	o.client(&e.Client)
}

func (e Disconnect) json(o *object) {
	o.event("disconnect", "")
	o.client(&e.Client)
	o.key("commands")
	o.b = append(o.b, '{')
	for _, c := range e.Commands {
		if c.Total == 0 {
			continue
		}
		o.key(c.Name)
		o.b = append(o.b, '{')
		o.int("ok", int64(c.OK))
		o.int("total", int64(c.Total))
		o.b = append(o.b, '}')
	}
	o.b = append(o.b, '}')
}

func (e LostConnection) json(o *object) { o.after("lost_connection", &e) }
func (e Timeout) json(o *object)        { o.after("timeout", (*LostConnection)(&e)) }
func (e TooManyErrors) json(o *object)  { o.after("too_many_errors", (*LostConnection)(&e)) }

func (e Client) json(o *object) {
	o.event("client", e.Queue)
	o.client(&e.Client)
	o.opt("sasl_method", e.Client.SASLMethod)
	o.opt("sasl_username", e.Client.SASLUser)
}

func (e Reject) json(o *object) {
	o.event("reject", e.Queue)
	o.str("action", e.action())
	o.str("stage", e.Stage)
	o.client(&e.Client)
	o.str("reply", e.Reply)
	if e.hasSender() {
		o.str("from", string(e.From))
	}
	o.opt("to", string(e.To))
	o.opt("proto", e.Client.Protocol)
	o.opt("helo", e.Client.Helo)
	o.opt("sasl_method", e.Client.SASLMethod)
	o.opt("sasl_username", e.Client.SASLUser)
}

func (e Content) json(o *object) {
	o.event("content", e.Queue)
	o.str("action", e.Action)
	o.str("where", e.Where)
	o.str("line", e.line())
	if !e.Local {
		o.client(&e.Client)
		o.opt("proto", e.Client.Protocol)
		o.opt("helo", e.Client.Helo)
	}
	o.str("from", string(e.From))
	o.opt("to", string(e.To))
	o.opt("text", e.Text)
}

func (e Pickup) json(o *object) {
	o.event("pickup", e.Queue)
	o.int("uid", int64(e.UID))
	o.str("from", string(e.From))
	if e.Orig != "" {
		o.str("orig_id", string(e.Orig))
	}
}

func (e MessageID) json(o *object) {
	o.event("message_id", e.Queue)
	if e.Resent {
		o.str("resent_message_id", e.ID)
	} else {
		o.str("message_id", e.ID)
	}
}

func (e QueueActive) json(o *object) {
	o.event("queue_active", e.Queue)
	o.str("from", string(e.From))
	o.int("size", e.Size)
	o.int("nrcpt", int64(e.Recipients))
}

func (e Removed) json(o *object)  { o.event("removed", e.Queue) }
func (e Held) json(o *object)     { o.event("held", e.Queue) }
func (e Released) json(o *object) { o.event("released", e.Queue) }

func (e Expired) json(o *object) {
	o.event("expired", e.Queue)
	o.str("from", string(e.From))
	o.str("status", e.status())
}

func (e Delivery) json(o *object) {
	d := e.delays()
	o.event("delivery", e.Queue)
	o.str("to", string(e.To))
	if e.showsOrigTo() {
		o.str("orig_to", string(e.OrigTo))
	}
	o.str("relay", e.relay())
	if e.ConnUse > 1 {
		o.int("conn_use", int64(e.ConnUse))
	}
	o.seconds("delay", d.total)
	o.key("delays")
	for i, p := range d.parts {
		o.b = append(o.b, "[,,,"[i])
		o.b = strconv.AppendFloat(o.b, p.Round(time.Microsecond).Seconds(), 'f', -1, 64)
	}
	o.b = append(o.b, ']')
	o.str("dsn", e.Status.DSN)
	o.str("status", e.status())
	o.str("text", e.Status.Text)
}

func (e BounceNotice) json(o *object) {
	o.event("notice", e.Queue)
	o.str("kind", string(e.Kind))
	o.str("new_queue_id", string(e.New))
}

func (e Info) json(o *object) {
	o.event("info", e.Queue)
	o.str("text", e.Text)
}

func (e Warning) json(o *object) {
	o.event("warning", e.Queue)
	o.str("text", e.Text)
}
