package mail

import "strings"

// VERP is the sender that a recipient's copy goes out under (variable envelope return path,
// Postfix's VERP_README): list@ours and user@theirs make list+user=theirs@ours with the
// delimiters "+=". So a bounce tells whom it is about.
func VERP(sender, recipient Address, delimiters string) Address {
	var b strings.Builder
	b.WriteString(sender.Local())
	b.WriteByte(delimiters[0])
	b.WriteString(recipient.Local())
	if d := recipient.Domain(); d != "" {
		b.WriteByte(delimiters[1])
		b.WriteString(d)
	}
	if d := sender.Domain(); d != "" {
		b.WriteByte('@')
		b.WriteString(d)
	}
	return Address(b.String())
}

// ValidVERP says whether s can be the delimiters of VERP: two characters of filter
// (verp_delimiter_filter).
func ValidVERP(s, filter string) bool {
	return len(s) == 2 && strings.IndexByte(filter, s[0]) >= 0 && strings.IndexByte(filter, s[1]) >= 0
}

// VERPSender is the sender of a message as recipient n of it gets to see it.
func (e *Envelope) VERPSender(n uint32) Address {
	if e.VERP == "" || e.Sender == "" {
		return e.Sender
	}
	r := &e.Recipients[n]
	if r.Original != "" { // what the list knows him by
		return VERP(e.Sender, r.Original, e.VERP)
	}
	return VERP(e.Sender, r.Address, e.VERP)
}
