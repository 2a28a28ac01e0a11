package bounce

import (
	"bytes"
	"fmt"
	"io"

	"postrider/lib/agent"
)

// original is what has to be known of a message before a part of it is sent back.
type original struct {
	header                 int64 // length of its header, the empty line left out, whole lines within the limit
	eightHeader, eightBody bool  // has bytes above 127
}

// examine reads all of the content once, so that nothing is sent back whose checksum
// does not hold (agent.ErrContent). Of the header at most limit bytes count.
func examine(c *agent.Content, limit int64) (o original, err error) {
	var (
		r     = c.NewReader()
		buf   = make([]byte, 32<<10)
		at    int64 // of the line that is being read
		size  int64 // of that line so far
		blank = true
		body  bool
	)
	for {
		n, err := r.Read(buf)
		if err == io.EOF {
			if !body {
				o.header = at + size
				if o.header > limit {
					o.header = at
				}
			}
			return o, nil
		}
		if err != nil {
			return o, fmt.Errorf("read the message: %w", err)
		}
		for b := buf[:n]; len(b) > 0; {
			if body {
				o.eightBody = o.eightBody || eight(b)
				break
			}
			i := bytes.IndexByte(b, '\n')
			end := i >= 0
			line := b
			if end {
				line = b[:i+1]
			}
			b = b[len(line):]
			blank = blank && len(bytes.TrimRight(line, "\r\n")) == 0
			size += int64(len(line))
			switch {
			case end && blank, at+size > limit:
				body, o.header = true, at
				o.eightBody = eight(line) || eight(b)
				b = nil
			case end:
				at, size, blank = at+size, 0, true
			}
			if !body {
				o.eightHeader = o.eightHeader || eight(line)
			}
		}
	}
}

func eight(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

// copy writes the first size bytes of content and ends their last line.
func (l *lines) copy(c io.ReaderAt, size int64) {
	l.flush()
	if l.err != nil || size == 0 {
		return
	}
	buf := make([]byte, 32<<10)
	last := byte('\n')
	for at := int64(0); at < size && l.err == nil; {
		p := buf[:min(int64(len(buf)), size-at)]
		n, err := c.ReadAt(p, at)
		if n == 0 && err != nil {
			l.err = fmt.Errorf("read the message: %w", err)
			return
		}
		at, last = at+int64(n), p[n-1]
		_, l.err = l.w.Write(p[:n])
	}
	if last != '\n' {
		l.line("")
	}
}
