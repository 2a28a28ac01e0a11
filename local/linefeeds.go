package local

import (
	"bytes"
	"io"
)

// lineFeeds turns CRLF into LF.
type lineFeeds struct {
	w    io.Writer
	cr   bool // a CR is held back
	last byte
}

func newLineFeeds(w io.Writer) *lineFeeds { return &lineFeeds{w: w, last: '\n'} }

func (l *lineFeeds) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if l.cr {
			l.cr = false
			if p[0] != '\n' {
				if err := l.put([]byte{'\r'}); err != nil {
					return 0, err
				}
			}
		}
		i := bytes.IndexByte(p, '\r')
		if i < 0 {
			return n, l.put(p)
		}
		if err := l.put(p[:i]); err != nil {
			return 0, err
		}
		p, l.cr = p[i+1:], true
	}
	return n, nil
}

func (l *lineFeeds) put(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	l.last = p[len(p)-1]
	_, err := l.w.Write(p)
	return err
}

// end writes what is held back and ends the last line.
func (l *lineFeeds) end() error {
	if l.cr {
		l.cr = false
		if err := l.put([]byte{'\r'}); err != nil {
			return err
		}
	}
	if l.last != '\n' {
		return l.put([]byte{'\n'})
	}
	return nil
}
