package maildrop

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"time"

	"postrider/lib/mail"
)

// Submission is what is known of a submitted message besides its content.
type Submission struct {
	UID        uint32       // who ran postdrop; the file's owner is what cleanup believes
	Time       time.Time    // when
	Sender     mail.Address // as given: may lack a domain; "" is the null sender
	FullName   string       // for a From field, or ""
	Body       mail.Body
	EnvID      string // ENVID in xtext (RFC 3461), or ""
	VERP       string // delimiters of a variable envelope return path, or ""
	Ret        string // "FULL", "HDRS" or ""
	Notify     mail.Notify
	Trace      mail.Trace
	Recipients []mail.Address
}

// Names of options; unknown ones are refused.
const (
	optBody   = "body"
	optEnvID  = "envid"
	optRet    = "ret"
	optNotify = "notify"
	optTrace  = "trace"
	optVERP   = "verp"
)

// Writer writes one message: the submission, then the content, then the end.
type Writer struct{ r *recordWriter }

// NewWriter writes s to w and takes the content next. Errors show at Close.
func NewWriter(w io.Writer, s *Submission) *Writer {
	r := newRecordWriter(w)
	r.put(kindUID, binary.AppendUvarint(nil, uint64(s.UID)))
	if !s.Time.IsZero() {
		r.put(kindTime, binary.AppendVarint(nil, s.Time.UnixMicro()))
	}
	r.put(kindSender, []byte(s.Sender))
	if s.FullName != "" {
		r.put(kindFullName, []byte(s.FullName))
	}
	option := func(name, value string) { r.put(kindOption, []byte(name+"="+value)) }
	if s.Body != mail.BodyUnknown {
		option(optBody, strconv.Itoa(int(s.Body)))
	}
	if s.EnvID != "" {
		option(optEnvID, s.EnvID)
	}
	if s.Ret != "" {
		option(optRet, s.Ret)
	}
	if s.VERP != "" {
		option(optVERP, s.VERP)
	}
	if s.Notify != 0 {
		option(optNotify, strconv.Itoa(int(s.Notify)))
	}
	if s.Trace != 0 {
		option(optTrace, strconv.Itoa(int(s.Trace)))
	}
	for _, a := range s.Recipients {
		r.put(kindRecipient, []byte(a))
	}
	return &Writer{r}
}

// Write implements io.Writer for the content.
func (w *Writer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(len(p), MaxPiece)
		w.r.put(kindContent, p[:k])
		p = p[k:]
	}
	return n, w.r.err
}

// Close writes the end record, without which there is no message, and returns the
// first error there was. It does not close what is written to.
func (w *Writer) Close() error { return w.r.end() }

// Reader reads one message.
type Reader struct {
	r     recordReader
	piece []byte // content read along with the submission
	done  bool
}

// NewReader reads from r.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: recordReader{r: bufio.NewReaderSize(r, 32<<10)}}
}

// Submission reads everything before the content. Errors are ErrIncomplete,
// ErrFormat, ErrLimit or those of the file. Addresses and names hold no control
// characters.
func (r *Reader) Submission() (*Submission, error) {
	s := &Submission{}
	sender := false
	for {
		k, b, err := r.r.next()
		if err != nil {
			return nil, err
		}
		switch k {
		case kindContent:
			r.piece = b
		case kindEnd:
			r.done = true
		case kindRecipient:
			if err = text(b); err == nil && len(b) > 0 {
				s.Recipients = append(s.Recipients, mail.Address(b))
			}
		case kindSender:
			if sender {
				err = fmt.Errorf("two senders: %w", ErrFormat)
			} else if err = text(b); err == nil {
				s.Sender, sender = mail.Address(b), true
			}
		default:
			err = s.record(k, b)
		}
		if err != nil {
			return nil, err
		}
		if k == kindContent || k == kindEnd {
			if !sender {
				return nil, fmt.Errorf("no sender: %w", ErrFormat)
			}
			return s, nil
		}
	}
}

func (s *Submission) record(k kind, b []byte) error {
	switch k {
	case kindUID:
		n, w := binary.Uvarint(b)
		if w != len(b) || w <= 0 || n > 1<<32-1 {
			return fmt.Errorf("uid: %w", ErrFormat)
		}
		s.UID = uint32(n)
	case kindTime:
		n, w := binary.Varint(b)
		if w != len(b) || w <= 0 {
			return fmt.Errorf("time: %w", ErrFormat)
		}
		s.Time = time.UnixMicro(n)
	case kindFullName:
		if err := text(b); err != nil {
			return err
		}
		s.FullName = string(b)
	case kindOption:
		return s.option(b)
	}
	return nil
}

func (s *Submission) option(b []byte) error {
	if err := text(b); err != nil {
		return err
	}
	name, v, _ := bytes.Cut(b, []byte("="))
	value := string(v)
	small := func(max int) (int, error) {
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > max {
			return 0, fmt.Errorf("option %s: %w", name, ErrFormat)
		}
		return n, nil
	}
	switch string(name) {
	case optBody:
		n, err := small(int(mail.Body8Bit))
		s.Body = mail.Body(n)
		return err
	case optNotify:
		n, err := small(int(mail.NotifyNever | mail.NotifySuccess | mail.NotifyFailure | mail.NotifyDelay))
		s.Notify = mail.Notify(n)
		return err
	case optTrace:
		n, err := small(int(mail.TraceRecord))
		s.Trace = mail.Trace(n)
		return err
	case optEnvID:
		if len(value) > 100 { // RFC 3461, 4.4
			return fmt.Errorf("option envid: %w", ErrLimit)
		}
		s.EnvID = value
		return nil
	case optVERP:
		if len(value) != 2 {
			return fmt.Errorf("option verp: %w", ErrFormat)
		}
		s.VERP = value
		return nil
	case optRet:
		if value != "FULL" && value != "HDRS" {
			return fmt.Errorf("option ret: %w", ErrFormat)
		}
		s.Ret = value
		return nil
	}
	return fmt.Errorf("unknown option %.20q: %w", name, ErrFormat)
}

// Next returns the next piece of the content, valid until the call after it. io.EOF
// comes only behind a good end record: what was read is the message.
func (r *Reader) Next() ([]byte, error) {
	if p := r.piece; p != nil {
		r.piece = nil
		return p, nil
	}
	if r.done {
		return nil, io.EOF
	}
	k, b, err := r.r.next()
	if err != nil {
		return nil, err
	}
	if k == kindEnd {
		r.done = true
		return nil, io.EOF
	}
	return b, nil
}

// text refuses control characters.
func text(b []byte) error {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return fmt.Errorf("control character in an address, name or option: %w", ErrFormat)
		}
	}
	return nil
}
