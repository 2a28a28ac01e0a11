package spool

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// Found is an unfinished message that a Survey met. It is valid until the
// function it was given to returns.
type Found struct {
	Ref      slot.Ref
	Envelope *mail.Envelope
	State    State  // Done is complete; no Groups when it was never deferred
	Queue    string // InHold, InDeferred, or "incoming" when it was never deferred
	Size     int64
	Offset   time.Duration // of spool time from the wall clock: wall = spool - Offset

	inline []byte
	large  *slot.Large
	fs     disk.FS
}

// NeverDeferred is the queue of a message that was not deferred yet, nor put on
// hold, when nobody works on it.
const NeverDeferred = "incoming"

// Unfinished returns the numbers of the recipients that are left.
func (f *Found) Unfinished() []uint32 {
	var ns []uint32
	for n := range f.Envelope.Recipients {
		if !f.State.Done.Has(uint32(n)) {
			ns = append(ns, uint32(n))
		}
	}
	return ns
}

// WriteContent writes the content to w. The error is ErrDamaged, after all
// that could be read was written, when it is not what was stored; or one of w.
func (f *Found) WriteContent(w io.Writer) error {
	if f.large == nil {
		_, err := w.Write(f.inline)
		return err
	}
	file, err := f.fs.OpenFile(f.LargeName(), os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	defer file.Close()
	in := &source{r: io.NewSectionReader(file, 0, f.large.Size)}
	n, err := io.Copy(w, in)
	switch {
	case err != nil && in.err == nil:
		return err
	case in.err != nil:
		return fmt.Errorf("%s: %w: %w", f.LargeName(), ErrDamaged, in.err)
	case n != f.large.Size:
		return fmt.Errorf("%s has %d bytes of %d: %w", f.LargeName(), n, f.large.Size, ErrDamaged)
	case in.crc != f.large.CRC:
		return fmt.Errorf("%s does not match its checksum: %w", f.LargeName(), ErrDamaged)
	}
	return nil
}

// LargeName is the file the content has of its own, or "".
func (f *Found) LargeName() string {
	if f.large == nil {
		return ""
	}
	return dirContent + "/" + string(f.Envelope.ID)
}

// source sums up what is read and tells its errors from those of writing.
type source struct {
	r   io.Reader
	crc uint32
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.crc = crc32.Update(s.crc, castagnoli, p[:n])
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// Loss is a part of a spool that a Survey could not use.
type Loss struct {
	File   string // in the queue directory
	Offset int64
	Reason string
	// Of a message whose record is there and damaged: its id, and the record's
	// bytes behind its head as they are (queue id, envelope, content).
	ID  mail.QueueID
	Raw io.Reader
}

// Surveyed is what a Survey learned besides messages.
type Surveyed struct {
	// Names are the files of maildrop/ that have become messages.
	Names map[string]bool
}

// Survey reads a spool without its lock, be it in use, copied or damaged, and
// changes nothing. It calls found for each unfinished message, in the order in
// which cleanup took them over, and lost for each part that it could not use;
// it goes on behind that. Rather is a message found that is finished already,
// where it is the word of that that is lost, than one missed (S5). An error is
// found's, or ErrVersion.
func Survey(fsys disk.FS, found func(*Found) error, lost func(Loss)) (*Surveyed, error) {
	if err := CheckVersion(fsys); errors.Is(err, ErrVersion) {
		return nil, err
	}
	var s *survey
	for try := 1; ; try++ {
		s = newSurvey(fsys, found)
		err := s.decisions()
		if err == nil {
			break
		}
		s.close()
		if !errors.Is(err, errMoved) {
			return nil, err
		}
		if try == maxTries {
			s = newSurvey(fsys, found)
			s.still = true
			if err := s.decisions(); err != nil {
				s.close()
				return nil, err
			}
			break
		}
	}
	defer s.close()
	for _, l := range s.losses {
		lost(l)
	}
	s.lost = lost
	if err := s.contents(); err != nil {
		return nil, err
	}
	return &Surveyed{Names: s.names}, nil
}

// errMoved says that qmgr moved on meanwhile: what was read does not fit together.
var errMoved = errors.New("spool: moved while it was read")

// survey is what the log says, and then the content files.
type survey struct {
	fs    disk.FS
	found func(*Found) error
	lost  func(Loss)

	mem    *Queue // as replay leaves it; never opened, nothing in it writes
	sure   bool   // checkpoint and logs are whole: what memory does not know is gone
	still  bool   // nobody moves files: what is missing is lost
	states map[slot.Ref]filed
	freed  map[uint64]bool // content files of which the log says so
	files  []surveyFile    // content files, by number
	runs   []disk.File
	offset time.Duration

	crossed map[slot.Ref]Set // by messages that were not tailed yet
	names   map[string]bool
	losses  []Loss
}

// filed is where the newest state record of a message is.
type filed struct {
	gen    uint32
	state  []byte // from the log, or
	f      disk.File
	h      slot.Header
	name   string
	offset int64
}

func newSurvey(fsys disk.FS, found func(*Found) error) *survey {
	s := &survey{fs: fsys, found: found, sure: true, states: make(map[slot.Ref]filed), freed: make(map[uint64]bool),
		crossed: make(map[slot.Ref]Set), names: make(map[string]bool)}
	s.lost = func(l Loss) { s.losses = append(s.losses, l) }
	s.forget()
	return s
}

// forget makes memory empty.
func (s *survey) forget() {
	s.mem = &Queue{fs: s.fs, o: defaults(Options{FS: s.fs}), replaying: true}
	s.mem.log.cur = &batch{}
	s.mem.empty()
}

func (s *survey) close() {
	for _, f := range s.runs {
		f.Close()
	}
}

func (s *survey) lose(file string, offset int64, format string, a ...any) {
	s.lost(Loss{File: file, Offset: offset, Reason: fmt.Sprintf(format, a...)})
}

// message gives a content record to found, unless it is finished.
func (s *survey) message(name string, rec *slot.Record) error {
	ref := rec.Ref
	env, err := mail.DecodeEnvelope(rec.Envelope)
	if err != nil || env.ID != rec.ID {
		s.lost(Loss{File: name, Offset: rec.Offset, Reason: "envelope cannot be read", ID: rec.ID,
			Raw: io.MultiReader(bytes.NewReader(rec.Envelope), bytes.NewReader(rec.Content))})
		return nil
	}
	m := &Found{Ref: ref, Envelope: env, Queue: NeverDeferred, Size: int64(len(rec.Content)), Offset: s.offset, inline: rec.Content, fs: s.fs}
	if rec.Flags&slot.FlagLarge != 0 {
		l, err := slot.DecodeLarge(rec.Content)
		if err != nil || !env.ID.Valid() {
			s.lose(name, rec.Offset, "%s does not say where its content is", env.ID)
			return nil
		}
		m.large, m.Size, m.inline = &l, l.Size, nil
	}
	c := s.mem.contents[ref.File]
	at, ok := s.states[ref]
	if ok {
		m.Queue = InDeferred
		if r, err := s.state(at); err == nil {
			m.State = r.State
		} else {
			s.lose(at.name, at.offset, "state of %s: %v: recipients that are done may be named", env.ID, err)
		}
	} else if s.sure && c != nil && c.stated.has(ref.Slot) {
		m.Queue = InDeferred
		s.lose(name, rec.Offset, "%s has lost its state record: recipients that are done may be named", env.ID)
	}
	if c != nil && c.held.has(ref.Slot) {
		m.Queue = InHold
	}
	done := slices.Clone(s.mem.marks[ref])
	done.Merge(s.crossed[ref])
	m.State = without(m.State, done)
	if len(m.Unfinished()) == 0 {
		return nil
	}
	return s.found(m)
}

// state reads a state record.
func (s *survey) state(at filed) (*record, error) {
	b := at.state
	if b == nil {
		rec, _, err := slot.ReadRecord(at.f, at.h, at.offset, nil)
		if err != nil {
			return nil, err
		}
		b = rec.Envelope
	}
	return decodeState(b)
}
