package smtp

import (
	"strconv"

	"postrider/lib/daemon"
	"postrider/lib/transcript"
)

// note keeps a reply for the postmaster. He hears of a session if the server took a command
// for none (RFC 5321, 4.2.1: x0z): then it is we who may be wrong.
func (s *session) note() {
	code := strconv.Itoa(s.reply.Code) + " "
	s.chat.In([]byte(code + s.reply.Text()))
	if s.reply.Code >= 500 && s.reply.Code < 510 || s.reply.Code == 555 {
		s.strange = true
	}
}

// tellPostmaster sends him what was said in a session that has ended, if it was strange.
func (c *client) tellPostmaster(s *session) {
	chat := s.chat
	s.chat = nil
	if !s.strange || s.silent {
		chat.End()
		return
	}
	set, log := s.st.notices, s.st.log
	r := transcript.Report{Side: "client", Peer: s.relay, Answer: true, Chat: chat}
	go daemon.Guard(func() { // whoever ends a session waits for nobody
		if _, err := c.notices.Send(&set, r); err != nil {
			log.Warnf("postmaster notice failed: %v", err)
		}
		chat.End()
	})
}
