package sendmail

import "bufio"

// crlf gives lines that end in LF alone their CR. (textproto's DotReader takes LF, but
// not behind an empty line.)
type crlf struct {
	r    *bufio.Reader
	last byte
	lf   bool // an LF is owed
}

func (c *crlf) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if c.lf {
			p[n], c.last, c.lf = '\n', '\n', false
			n++
			continue
		}
		if n > 0 && c.r.Buffered() == 0 {
			break
		}
		b, err := c.r.ReadByte()
		if err != nil {
			return n, err
		}
		if b == '\n' && c.last != '\r' {
			b, c.lf = '\r', true
		}
		p[n], c.last = b, b
		n++
	}
	return n, nil
}
