package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Sum is what the ledger compares a content by: from the Header line on, so without what
// the programs put before it (Received, Delivered-To, Return-Path), and with every line
// end as LF.
type Sum struct {
	SHA256 [sha256.Size]byte
	Size   int // in bytes
}

// Header is the name of the header that carries a message's id. It is the first one of
// a content made by Content.
const Header = "X-Ledger-Id"

// ErrForeign says that a content has no Header.
var ErrForeign = errors.New("no " + Header + " header")

// Identify returns the id and the sum of a content that was found somewhere.
func Identify(content []byte) (id string, sum Sum, err error) {
	start := 0
	for rest := content; ; {
		line, after, more := bytes.Cut(rest, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 || !more {
			return "", sum, ErrForeign
		}
		if v, ok := bytes.CutPrefix(line, []byte(Header+": ")); ok {
			return string(v), Hash(content[start:]), nil
		}
		start += len(rest) - len(after)
		rest = after
	}
}

// Hash is the sum of a whole content, line ends of both kinds counting as one.
func Hash(content []byte) (sum Sum) {
	h := sha256.New()
	for len(content) > 0 {
		i := bytes.Index(content, []byte("\r\n"))
		if i < 0 {
			i = len(content)
		}
		h.Write(content[:i])
		sum.Size += i
		content = content[min(i+1, len(content)):]
	}
	h.Sum(sum.SHA256[:0])
	return sum
}

// Content makes a message of about size bytes, with CRLF line ends, complete headers and
// a body that depends on id alone: no line of it occurs in a message with another id.
func Content(id string, size int) []byte {
	var b bytes.Buffer
	b.Grow(size + 256)
	fmt.Fprintf(&b, "%s: %s\r\nFrom: ledger@source.test\r\nTo: ledger@sink.test\r\nSubject: %s\r\n"+
		"Date: Tue, 04 Mar 2025 10:11:12 +0000\r\nMessage-Id: <%s@source.test>\r\n\r\n", Header, id, id, id)
	seed := sha256.Sum256([]byte(id))
	random := rand.New(rand.NewPCG(binary.LittleEndian.Uint64(seed[:]), binary.LittleEndian.Uint64(seed[8:])))
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/"
	line := make([]byte, 0, 80)
	for n := 0; b.Len() < size; n++ {
		line = line[:0]
		if n%7 == 0 {
			line = append(line, '.') // dots at the start of a line must survive
		}
		for len(line) < 76 {
			r := random.Uint64()
			for range 10 {
				line = append(line, letters[r&63])
				r >>= 6
			}
		}
		line = append(line[:76], '\r', '\n')
		b.Write(line)
	}
	return b.Bytes()
}

// Reported returns the id of the message and the recipients that a delivery status
// notification (RFC 3464) says failed. The header of the message must be in it.
func Reported(report []byte) (id string, failed []string, err error) {
	var recipient string
	for l := range strings.Lines(string(report)) {
		l = strings.TrimRight(l, "\r\n")
		name, value, ok := strings.Cut(l, ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "final-recipient":
			_, recipient, _ = strings.Cut(value, ";")
			recipient = strings.TrimSpace(recipient)
		case "action":
			if strings.EqualFold(value, "failed") {
				failed = append(failed, recipient)
			}
		case strings.ToLower(Header):
			id = value
		}
	}
	if id == "" {
		return "", nil, ErrForeign
	}
	return id, failed, nil
}
