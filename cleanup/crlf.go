package cleanup

import "bytes"

// crlf makes every line of content that comes in pieces end with CRLF: a bare LF
// ends a line, and a CR that ends none becomes a space, so that no two programs can
// see different lines (cleanup_replace_stray_cr_lf).
type crlf struct {
	cr   bool // the last piece ended with CR
	open bool // the last line has no end yet
}

// append appends the piece p, less a CR at its end, to dst.
func (c *crlf) append(dst, p []byte) []byte {
	if c.cr && len(p) > 0 && p[0] != '\n' {
		dst = append(dst, ' ')
	}
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		line := p
		if i >= 0 {
			line = p[:i]
		}
		c.cr = false
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
			c.cr = i < 0
		}
		at := len(dst)
		dst = append(dst, line...)
		for j := bytes.IndexByte(dst[at:], '\r'); j >= 0; j = bytes.IndexByte(dst[at:], '\r') {
			at += j
			dst[at] = ' '
		}
		if i < 0 {
			c.open = true
			break
		}
		dst = append(dst, '\r', '\n')
		c.open = false
		p = p[i+1:]
	}
	return dst
}

// end ends the last line.
func (c *crlf) end(dst []byte) []byte {
	if c.open {
		dst = append(dst, '\r', '\n')
	}
	c.cr, c.open = false, false
	return dst
}
