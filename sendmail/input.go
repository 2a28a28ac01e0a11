package sendmail

import (
	"bufio"
	"bytes"
	"io"
)

// input reads a message as users have it and gives it with every line ended by
// CRLF. Lines end with LF or CRLF; a first line "From " of a mailbox file is
// dropped; a line with a single dot ends the message unless dots is set.
type input struct {
	r    *bufio.Reader
	dots bool // a lone dot is an ordinary line

	begun   bool
	midline bool // the last piece had no line end
	cr      bool // a CR at the end of the last piece was held back
	done    bool
}

func newInput(r io.Reader, ignoreDots bool) *input {
	return &input{r: bufio.NewReaderSize(r, 64<<10), dots: ignoreDots}
}

// next appends a line, or a piece of a long one, to dst. At the end it returns
// io.EOF; any other error is that of reading.
func (in *input) next(dst []byte) ([]byte, error) {
	for {
		if in.done {
			return dst, io.EOF
		}
		line, err := in.r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull && err != io.EOF {
			return dst, err
		}
		in.done = err == io.EOF
		start, first := !in.midline, !in.begun
		in.begun = in.begun || len(line) > 0
		ended := len(line) > 0 && line[len(line)-1] == '\n'
		text := line
		if ended {
			text = line[:len(line)-1]
		}
		if in.cr && len(text) > 0 {
			dst = append(dst, '\r') // inside the line after all
		}
		in.cr = in.cr && len(text) == 0 && !ended && !in.done
		if n := len(text); n > 0 && text[n-1] == '\r' {
			text = text[:n-1]
			in.cr = !ended && !in.done
		}
		switch {
		case start && len(line) == 0: // the end
			continue
		case start && first && (bytes.HasPrefix(text, []byte("From ")) || bytes.HasPrefix(text, []byte(">From "))):
			if !ended { // the rest of it, however long
				if err := in.skipLine(); err != nil {
					return dst, err
				}
			}
			continue
		case start && !in.dots && len(text) == 1 && text[0] == '.' && (ended || in.done):
			in.done = true
			return dst, io.EOF
		}
		dst = append(dst, text...)
		if in.midline = !ended && !in.done; !in.midline {
			dst = append(dst, '\r', '\n')
		}
		return dst, nil
	}
}

func (in *input) skipLine() error {
	in.cr = false
	for !in.done {
		_, err := in.r.ReadSlice('\n')
		if err == nil {
			return nil
		}
		if err != bufio.ErrBufferFull && err != io.EOF {
			return err
		}
		in.done = err == io.EOF
	}
	return nil
}
