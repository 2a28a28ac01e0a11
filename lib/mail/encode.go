package mail

import (
	"encoding/binary"
)

// The envelope on disk and between programs is a run of fields: tag, length,
// bytes (both numbers as uvarints). A reader passes over tags that it does not
// know; tags are never given a new meaning.
const (
	tagID = iota + 1
	tagSender
	tagRecipient
	tagArrival // microseconds since the epoch
	tagSize
	tagOrigin
	tagClientName
	tagClientAddr
	tagHelo
	tagProtocol
	tagUID
	tagBody
	tagUTF8
	tagEnvID
	tagRet
	tagMessageID
	tagReplaces
	tagReplacesMaildrop
	tagSASLMethod
	tagSASLUser
	tagListener
	tagKind
	tagPriority // 10 more than it is
	tagHeader   // name, NUL, value
	tagTrace
	tagHold
	tagDiscard
	tagRedirect
	tagFilter
	tagVERP
)

// Fields inside a recipient field.
const (
	tagAddress = iota + 1
	tagOriginal
	tagORCPT
	tagNotify
	tagMember
)

// AppendEnvelope appends the stored form of e to b.
func AppendEnvelope(b []byte, e *Envelope) []byte {
	b = appendString(b, tagID, string(e.ID))
	b = appendString(b, tagSender, string(e.Sender))
	if !e.Arrival.IsZero() {
		b = appendUint(b, tagArrival, uint64(e.Arrival.UnixMicro()))
	}
	b = appendUint(b, tagSize, uint64(e.Size))
	b = appendUint(b, tagOrigin, uint64(e.Origin))
	b = appendString(b, tagClientName, e.Client.Name)
	b = appendString(b, tagClientAddr, e.Client.Addr)
	b = appendString(b, tagHelo, e.Client.Helo)
	b = appendString(b, tagProtocol, e.Client.Protocol)
	b = appendUint(b, tagUID, uint64(e.Client.UID))
	b = appendUint(b, tagBody, uint64(e.Body))
	if e.UTF8 {
		b = appendUint(b, tagUTF8, 1)
	}
	b = appendString(b, tagEnvID, e.EnvID)
	b = appendString(b, tagRet, e.Ret)
	b = appendString(b, tagVERP, e.VERP)
	if e.Trace != 0 {
		b = appendUint(b, tagTrace, uint64(e.Trace))
	}
	if e.Hold {
		b = appendUint(b, tagHold, 1)
	}
	if e.Discard {
		b = appendUint(b, tagDiscard, 1)
	}
	b = appendString(b, tagRedirect, string(e.Redirect))
	b = appendString(b, tagFilter, e.Filter)
	b = appendString(b, tagMessageID, e.MessageID)
	if r := &e.Replaces; r.ID != "" {
		n := uvarintLen(uint64(len(r.ID))) + len(r.ID) + uvarintLen(r.File) + uvarintLen(uint64(r.Slot))
		for _, i := range r.Recipients {
			n += uvarintLen(uint64(i))
		}
		b = binary.AppendUvarint(b, tagReplaces)
		b = binary.AppendUvarint(b, uint64(n))
		b = binary.AppendUvarint(b, uint64(len(r.ID)))
		b = append(b, r.ID...)
		b = binary.AppendUvarint(b, r.File)
		b = binary.AppendUvarint(b, uint64(r.Slot))
		for _, i := range r.Recipients {
			b = binary.AppendUvarint(b, uint64(i))
		}
	}
	b = appendString(b, tagReplacesMaildrop, e.Replaces.Maildrop)
	b = appendString(b, tagSASLMethod, e.Client.SASLMethod)
	b = appendString(b, tagSASLUser, e.Client.SASLUser)
	b = appendString(b, tagListener, e.Listener)
	b = appendUint(b, tagKind, uint64(e.Kind))
	if e.HasPriority {
		b = appendUint(b, tagPriority, uint64(e.Priority+10))
	}
	for i := range e.Headers {
		h := &e.Headers[i]
		b = binary.AppendUvarint(b, tagHeader)
		b = binary.AppendUvarint(b, uint64(len(h.Name)+1+len(h.Value)))
		b = append(append(append(b, h.Name...), 0), h.Value...)
	}
	for i := range e.Recipients {
		b = appendRecipient(b, &e.Recipients[i])
	}
	return b
}

func appendRecipient(b []byte, r *Recipient) []byte {
	n := stringLen(string(r.Address)) + stringLen(string(r.Original)) + stringLen(r.ORCPT)
	if r.Notify != 0 {
		n += 3
	}
	if r.Member != 0 {
		n += 2 + uvarintLen(r.Member)
	}
	b = binary.AppendUvarint(b, tagRecipient)
	b = binary.AppendUvarint(b, uint64(n))
	b = appendString(b, tagAddress, string(r.Address))
	b = appendString(b, tagOriginal, string(r.Original))
	b = appendString(b, tagORCPT, r.ORCPT)
	if r.Notify != 0 {
		b = append(b, tagNotify, 1, byte(r.Notify))
	}
	if r.Member != 0 {
		b = appendUint(b, tagMember, r.Member)
	}
	return b
}

func appendString(b []byte, tag uint64, s string) []byte {
	if s == "" {
		return b
	}
	b = binary.AppendUvarint(b, tag)
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendUint(b []byte, tag, n uint64) []byte {
	b = binary.AppendUvarint(b, tag)
	b = binary.AppendUvarint(b, uint64(uvarintLen(n)))
	return binary.AppendUvarint(b, n)
}

func stringLen(s string) int {
	if s == "" {
		return 0
	}
	return 1 + uvarintLen(uint64(len(s))) + len(s)
}

func uvarintLen(n uint64) int {
	k := 1
	for ; n >= 0x80; n >>= 7 {
		k++
	}
	return k
}
