package mail

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"
)

// ErrEnvelope is the kind of error for bytes that are no envelope.
var ErrEnvelope = errors.New("mail: malformed envelope")

// DecodeEnvelope reads the stored form. Any error is ErrEnvelope. The envelope
// does not refer to b: its strings are parts of one copy.
func DecodeEnvelope(b []byte) (*Envelope, error) {
	x := &struct {
		Envelope
		first [1]Recipient // room for what most have
	}{}
	e := &x.Envelope
	err := eachField(string(b), func(tag uint64, v string) error {
		switch tag {
		case tagID:
			e.ID = QueueID(v)
		case tagSender:
			e.Sender = Address(v)
		case tagRecipient:
			r, err := decodeRecipient(v)
			if err != nil {
				return err
			}
			if e.Recipients == nil {
				e.Recipients = x.first[:0]
			}
			e.Recipients = append(e.Recipients, r)
		case tagClientName:
			e.Client.Name = v
		case tagClientAddr:
			e.Client.Addr = v
		case tagHelo:
			e.Client.Helo = v
		case tagProtocol:
			e.Client.Protocol = v
		case tagEnvID:
			e.EnvID = v
		case tagVERP:
			if len(v) == 2 { // else nobody knows what is meant
				e.VERP = v
			}
		case tagRet:
			e.Ret = v
		case tagMessageID:
			e.MessageID = v
		case tagReplaces:
			e.Replaces.Recipients = nil
			return decodeReplaces(v, &e.Replaces)
		case tagSASLMethod:
			e.Client.SASLMethod = string(v)
		case tagSASLUser:
			e.Client.SASLUser = string(v)
		case tagReplacesMaildrop:
			e.Replaces.Maildrop = v
		case tagListener:
			e.Listener = v
		case tagRedirect:
			e.Redirect = Address(v)
		case tagFilter:
			e.Filter = v
		case tagHeader:
			name, value, ok := strings.Cut(v, "\x00")
			if !ok {
				return ErrEnvelope
			}
			e.Headers = append(e.Headers, Header{name, value})
		case tagArrival, tagSize, tagOrigin, tagUID, tagBody, tagUTF8, tagKind, tagPriority, tagTrace, tagHold, tagDiscard:
			n, k := uvarint(v)
			if k != len(v) || k <= 0 {
				return ErrEnvelope
			}
			switch tag {
			case tagArrival:
				e.Arrival = time.UnixMicro(int64(n))
			case tagSize:
				e.Size = int64(n)
			case tagOrigin:
				e.Origin = Origin(n)
			case tagUID:
				e.Client.UID = uint32(n)
			case tagBody:
				e.Body = Body(n)
			case tagUTF8:
				e.UTF8 = n != 0
			case tagHold:
				e.Hold = n != 0
			case tagDiscard:
				e.Discard = n != 0
			case tagTrace:
				if n > uint64(TraceRecord) {
					return ErrEnvelope
				}
				e.Trace = Trace(n)
			case tagKind:
				e.Kind = Kind(n & 3)
			case tagPriority:
				if n < 1 || n > 19 {
					return ErrEnvelope
				}
				e.Priority, e.HasPriority = int8(n)-10, true
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

func decodeRecipient(b string) (Recipient, error) {
	var r Recipient
	err := eachField(b, func(tag uint64, v string) error {
		switch tag {
		case tagAddress:
			r.Address = Address(v)
		case tagOriginal:
			r.Original = Address(v)
		case tagORCPT:
			r.ORCPT = v
		case tagNotify:
			if len(v) != 1 {
				return ErrEnvelope
			}
			r.Notify = Notify(v[0])
		case tagMember:
			n, k := uvarint(v)
			if k != len(v) || k <= 0 {
				return ErrEnvelope
			}
			r.Member = n
		}
		return nil
	})
	return r, err
}

func decodeReplaces(b string, r *Replaces) error {
	n, k := uvarint(b)
	if k <= 0 || n == 0 || n > uint64(len(b)-k) {
		return ErrEnvelope
	}
	r.ID = QueueID(b[k : k+int(n)])
	b = b[k+int(n):]
	if r.File, k = uvarint(b); k <= 0 {
		return ErrEnvelope
	}
	b = b[k:]
	slot, k := uvarint(b)
	if k <= 0 || slot > 1<<32-1 {
		return ErrEnvelope
	}
	r.Slot = uint32(slot)
	for b = b[k:]; len(b) > 0; b = b[k:] {
		var i uint64
		if i, k = uvarint(b); k <= 0 || i > 1<<32-1 {
			return ErrEnvelope
		}
		r.Recipients = append(r.Recipients, uint32(i))
	}
	return nil
}

func eachField(b string, f func(tag uint64, v string) error) error {
	for len(b) > 0 {
		tag, k := uvarint(b)
		if k <= 0 {
			return ErrEnvelope
		}
		b = b[k:]
		n, k := uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			return ErrEnvelope
		}
		if err := f(tag, b[k:k+int(n)]); err != nil {
			return err
		}
		b = b[k+int(n):]
	}
	return nil
}

// uvarint is binary.Uvarint for a string.
func uvarint(s string) (uint64, int) {
	var n uint64
	for i := 0; i < len(s) && i < binary.MaxVarintLen64; i++ {
		c := s[i]
		if i == binary.MaxVarintLen64-1 && c > 1 {
			return 0, -i - 1 // overflow
		}
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return n, i + 1
		}
	}
	return 0, 0
}
