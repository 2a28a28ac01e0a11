package header

// maxMessageID bounds what is kept of a Message-Id.
const maxMessageID = 998

// Summary is what a mail system wants to know of a header.
type Summary struct {
	Received  int    // number of Received fields, for the hop limit
	MessageID string // of the first Message-Id, angle brackets included, or ""

	HasDate, HasFrom, HasMessageID bool

	// The same for a message that was sent on by hand (RFC 5322, 3.6.6). Resent is
	// set by any Resent- field.
	Resent                                           bool
	HasResentDate, HasResentFrom, HasResentMessageID bool
}

// Add takes one more field into account.
func (s *Summary) Add(f Field) {
	switch f.name {
	case 4:
		s.HasDate = s.HasDate || f.Is("Date")
		s.HasFrom = s.HasFrom || f.Is("From")
	case 8:
		if f.Is("Received") {
			s.Received++
		}
	case 10:
		if !s.HasMessageID && f.Is("Message-Id") {
			s.HasMessageID = true
			var a [128]byte
			v := f.Text(a[:0])
			s.MessageID = string(v[:min(len(v), maxMessageID)])
		}
	}
	if f.name > len("Resent-") && equalFold(f.Raw[:len("Resent-")], "Resent-") {
		s.Resent = true
		s.HasResentDate = s.HasResentDate || f.Is("Resent-Date")
		s.HasResentFrom = s.HasResentFrom || f.Is("Resent-From")
		s.HasResentMessageID = s.HasResentMessageID || f.Is("Resent-Message-Id")
	}
}
