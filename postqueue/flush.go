package postqueue

import (
	"errors"

	"postrider/lib/address"
	"postrider/lib/mail"
	"postrider/lib/operator"
	"postrider/lib/proto"
	"postrider/lib/sysexits"
)

// flush asks for attempts now: of everything, of one message, or of the mail for a site.
// The words and codes are Postfix's.
func (c *command) flush(o *options) int {
	if code, ok := c.load(o.Config); !ok {
		return code
	}
	v := &proto.Verb{Kind: proto.VerbFlush}
	switch {
	case o.Site != "":
		if !address.ValidSite(o.Site) {
			return c.fatal(sysexits.Usage, "Cannot flush mail queue - invalid destination: \"%s\"", short(o.Site))
		}
		v.Kind, v.IDs = proto.VerbSite, []string{o.Site}
	case o.ID != "":
		if !mail.QueueID(o.ID).Valid() {
			return c.fatal(sysexits.Usage, "Cannot flush queue ID - invalid name: \"%s\"", short(o.ID))
		}
		v.IDs = []string{o.ID}
	}
	q, _, err := operator.Open(c.cfg, false)
	if errors.Is(err, operator.ErrDown) {
		return c.fatal(sysexits.Unavailable, "Cannot flush mail queue - mail system is down")
	}
	if err != nil {
		return c.fatal(sysexits.Unavailable, "Cannot flush mail queue - %v", err)
	}
	defer q.Close()
	_, err = q.Do(v)
	var refused *operator.Error
	switch {
	case err == nil:
		return 0
	case v.Kind == proto.VerbSite && errors.As(err, &refused) && refused.Code == sysexits.Unavailable:
		return c.fatal(refused.Code, "%s", refused.Text)
	}
	return c.failed("Cannot flush mail queue", "flush", err)
}

// short is what is repeated of something long.
func short(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}
