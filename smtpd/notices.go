package smtpd

import "postrider/lib/transcript"

// hear notes a command for the postmaster; a secret is not for him.
func (f *front) hear(v verb, line []byte) {
	if f.chat == nil {
		return
	}
	if v == auth {
		word, rest := cutWord(line)
		mechanism, secret := cutWord(rest)
		if len(secret) > 0 {
			f.chat.In([]byte(string(word) + " " + string(mechanism) + " (not shown)"))
			return
		}
	}
	f.chat.In(line)
}

// wrong notes that a command was refused.
func (f *front) wrong(r reply) {
	blame := f.blame
	f.blame = 0
	switch {
	case r.code < 400:
	case blame != 0:
		f.errs |= blame
	case r.code/100 == 5:
		f.errs |= transcript.Protocol
	default:
		f.errs |= transcript.Policy
	}
}

// tellPostmaster sends him what was said in a session in which something went wrong that he
// wants to hear of (notify_classes).
func (f *front) tellPostmaster() {
	if f.chat == nil {
		return
	}
	if s := &f.set.notices; f.errs&s.Classes != 0 && !f.notice {
		_, err := f.service.server.notices.Send(s, transcript.Report{Side: "server", Peer: f.clientName(), Why: f.why, Chat: f.chat})
		if err != nil {
			f.log.Warnf("postmaster notice failed: %v", err)
		}
	}
	f.chat.End()
	f.chat = nil
}
