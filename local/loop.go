package local

import (
	"fmt"
	"io"
	"strings"

	"postrider/lib/agent"
	"postrider/lib/header"
	"postrider/lib/mail"
)

// maxDeliveredTo is how much of a field is looked at, in bytes; an address is shorter.
const maxDeliveredTo = 4096

// delivered says whether the header has a Delivered-To field with the address: the
// message has been here and came back. With own the first such field is passed over:
// it is the one that we wrote when we sent the message on.
func delivered(c *agent.Content, a mail.Address, own bool) (bool, error) {
	s := header.Scanner{Limit: maxDeliveredTo}
	var (
		b    = make([]byte, 0, min(4*maxDeliveredTo, max(c.Size(), 1)))
		text []byte
		off  int64
	)
	for {
		n, err := c.ReadAt(b[len(b):cap(b)], off)
		if err != nil && err != io.EOF {
			return false, fmt.Errorf("read the message: %w", err)
		}
		b, off = b[:len(b)+n], off+int64(n)
		eof := off >= c.Size() || n == 0
		used := 0
		for {
			f, n, st := s.Next(b[used:], eof)
			used += n
			if st == header.More {
				break
			}
			if st == header.End {
				return false, nil
			}
			if !f.Is("Delivered-To") {
				continue
			}
			if own {
				own = false
				continue
			}
			text = f.Text(text[:0])
			if t := strings.TrimSpace(string(text)); strings.EqualFold(t, string(a)) || strings.EqualFold(t, a.External()) {
				return true, nil
			}
		}
		if eof {
			return false, nil
		}
		b = b[:copy(b, b[used:])]
	}
}
