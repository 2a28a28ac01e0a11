package smtp

import (
	"postrider/lib/mail"
	"postrider/lib/proto"
)

// deliverTo is a delivery to recipients in b.test, of which local parts are given.
func deliverTo(nextHop, content string, to ...string) *proto.Deliver {
	d := &proto.Deliver{NextHop: nextHop, Sender: "s@a.test", Content: []byte(content), Keep: true}
	for _, a := range to {
		d.Recipients = append(d.Recipients, proto.DeliverRecipient{Recipient: mail.Recipient{Address: mail.Address(a + "@b.test")}})
	}
	return d
}
