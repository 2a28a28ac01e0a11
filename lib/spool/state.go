package spool

import (
	"encoding/binary"
	"fmt"
	"time"

	"postrider/lib/mail"
	"postrider/lib/slot"
)

// A state record begins with what the wheel needs of it at fixed places:
// format (1 byte), due time (milliseconds, 8 bytes), content file (8 bytes)
// and slot (4 bytes), all little endian. Then fields in this order, numbers as
// uvarints, times in microseconds: where the content record is, since,
// arrival, size, flags, notices, destination, sender, name of a large
// content, replies, done recipients, groups, the first unfinished recipients.
const (
	stateFormat = 1
	stateHead   = 1 + 8 + 8 + 4

	flagExpired = 1 << 0
	flagRequeue = 1 << 1

	maxRecipients = 1 << 24 // of one message
	maxReplies    = 64      // different results kept in a state record
	listed        = 16      // recipients copied into a state record, for listings
)

// The texts of a result are cut to these many bytes in a state record.
const (
	maxText   = 512
	maxDiag   = 256
	maxRemote = 128
	maxDSN    = 16
)

// stateDue and stateRef read the head of a state record, which must be whole.
func stateDue(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b[1:])) }

func stateRef(b []byte) slot.Ref {
	return slot.Ref{File: binary.LittleEndian.Uint64(b[9:]), Slot: binary.LittleEndian.Uint32(b[17:])}
}

// appendState appends the state record of m with state s.
func appendState(b []byte, m *Message, s *State) []byte {
	b = append(b, stateFormat)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.Due().UnixMilli()))
	b = binary.LittleEndian.AppendUint64(b, m.Ref.File)
	b = binary.LittleEndian.AppendUint32(b, m.Ref.Slot)
	b = binary.AppendUvarint(b, uint64(m.content.record))
	b = binary.AppendVarint(b, s.Since.UnixMicro())
	var arrival int64
	if !m.Envelope.Arrival.IsZero() {
		arrival = m.Envelope.Arrival.UnixMicro()
	}
	b = binary.AppendVarint(b, arrival)
	b = binary.AppendUvarint(b, uint64(m.Envelope.Size))
	var flags byte
	if s.Expired {
		flags |= flagExpired
	}
	if s.Requeue {
		flags |= flagRequeue
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(s.Notices))
	b = binary.LittleEndian.AppendUint64(b, s.Dest)
	b = appendString(b, string(m.Envelope.Sender))
	b = appendString(b, m.Large)

	// Each group names its reply by number; equal ones are stored once.
	var reply [maxReplies]*mail.Status
	replies := 0
	var place [maxReplies]uint8 // of the first groups
	number := func(st *mail.Status) uint8 {
		for i := range replies {
			if *reply[i] == *st {
				return uint8(i)
			}
		}
		if replies == maxReplies {
			return maxReplies - 1
		}
		reply[replies] = st
		replies++
		return uint8(replies - 1)
	}
	for i := range s.Groups {
		n := number(&s.Groups[i].Status)
		if i < maxReplies {
			place[i] = n
		}
	}
	b = append(b, byte(replies))
	for _, st := range reply[:replies] {
		b = append(b, byte(st.Class))
		b = appendString(b, cut(st.DSN, maxDSN))
		b = appendString(b, cut(st.Text, maxText))
		b = appendString(b, cut(st.RemoteMTA, maxRemote))
		b = appendString(b, cut(st.Diag, maxDiag))
	}

	b = appendSet(b, s.Done)
	b = binary.AppendUvarint(b, uint64(len(s.Groups)))
	for i := range s.Groups {
		g := &s.Groups[i]
		n := uint8(0)
		if i < maxReplies {
			n = place[i]
		} else {
			n = number(&g.Status)
		}
		b = append(b, n)
		b = binary.AppendVarint(b, g.Due.UnixMilli())
		b = binary.AppendUvarint(b, uint64(g.Attempts))
		b = appendString(b, g.Queue)
		b = appendNumbers(b, g.Recipients)
	}

	at := len(b)
	b = append(b, 0)
	for i := range s.Groups {
		for _, r := range s.Groups[i].Recipients {
			if b[at] == listed {
				return b
			}
			if int(r) >= len(m.Envelope.Recipients) {
				continue
			}
			b[at]++
			rcpt := &m.Envelope.Recipients[r]
			b = binary.AppendUvarint(b, uint64(r))
			b = appendString(b, string(rcpt.Address))
			b = appendString(b, string(rcpt.Original))
		}
	}
	return b
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// record is a state record read back.
type record struct {
	Ref     slot.Ref
	content int64 // offset of the content's record
	State   State
	Arrival time.Time
	Size    int64
	Sender  mail.Address
	Large   string
	Listed  []ItemRecipient
}

// decodeState reads a state record. Any error is ErrDamaged. It does not refer
// to b.
func decodeState(b []byte) (*record, error) {
	if len(b) < stateHead || b[0] != stateFormat {
		return nil, fmt.Errorf("state record: %w", ErrDamaged)
	}
	r := &record{Ref: stateRef(b)}
	d := decoder{b: b[stateHead:]}
	r.content = int64(d.uint())
	r.State.Since = time.UnixMicro(d.int())
	if a := d.int(); a != 0 {
		r.Arrival = time.UnixMicro(a)
	}
	r.Size = int64(d.uint())
	flags := d.byte()
	r.State.Expired, r.State.Requeue = flags&flagExpired != 0, flags&flagRequeue != 0
	r.State.Notices = d.uint32()
	if len(d.b) < 8 {
		return nil, fmt.Errorf("state record: %w", ErrDamaged)
	}
	r.State.Dest = binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	r.Sender = mail.Address(d.string())
	r.Large = d.string()

	var reply [256]mail.Status
	replies := int(d.byte())
	for i := range replies {
		reply[i] = mail.Status{Class: mail.Class(d.byte()), DSN: d.string(), Text: d.string(), RemoteMTA: d.string(), Diag: d.string()}
	}
	r.State.Done = d.set()
	groups := d.uint()
	if groups > uint64(len(d.b)) {
		d.bad = true
	}
	left := maxRecipients
	for i := uint64(0); i < groups && !d.bad; i++ {
		var g Group
		n := int(d.byte())
		if n >= replies {
			d.bad = true
			break
		}
		g.Status = reply[n]
		g.Due = time.UnixMilli(d.int())
		g.Attempts = d.uint32()
		g.Queue = d.string()
		g.Recipients = d.numbers(left)
		left -= len(g.Recipients)
		r.State.Groups = append(r.State.Groups, g)
	}
	for n := int(d.byte()); n > 0 && !d.bad; n-- {
		it := ItemRecipient{Number: d.uint32(), Address: mail.Address(d.string()), Original: mail.Address(d.string())}
		r.Listed = append(r.Listed, it)
	}
	if d.bad || len(d.b) != 0 {
		return nil, fmt.Errorf("state record: %w", ErrDamaged)
	}
	return r, nil
}
