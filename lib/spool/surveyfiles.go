package spool

import (
	"cmp"
	"errors"
	"io"
	"os"
	"slices"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// surveyFile is a content file that may hold unfinished mail.
type surveyFile struct {
	name string
	h    slot.Header
}

// contents reads the content files: first what the newest say of others, then
// all messages.
func (s *survey) contents() error {
	if err := s.listContents(); err != nil {
		return err
	}
	s.seals()
	used := 0
	for i := len(s.files) - 1; i >= 0; i-- {
		f := s.files[i]
		c := s.mem.contents[f.h.Number]
		tailed := s.mem.wasFreed(f.h.Number) || c != nil && c.passed
		if s.sure && tailed && used >= 2 {
			break // its names are removed, what it replaces is crossed off
		}
		if s.about(f, c) {
			used++
		}
	}
	own := make(map[uint64]bool)
	for _, f := range s.files {
		if s.freed[f.h.Number] || s.sure && s.mem.wasFreed(f.h.Number) {
			continue
		}
		if c := s.mem.contents[f.h.Number]; s.sure && c != nil && c.store != nil {
			continue // what lives of it was copied
		}
		own[f.h.Number] = true
		if err := s.messages(f); err != nil {
			return err
		}
	}
	return s.copies(own)
}

func (s *survey) listContents() error {
	es, err := s.fs.ReadDir(dirIncoming)
	if err != nil {
		s.lose(dirIncoming, 0, "%v", err)
		return nil
	}
	seen := make(map[uint64]bool)
	for _, e := range es {
		name := dirIncoming + "/" + e.Name()
		if !e.Type().IsRegular() {
			continue
		}
		h, err := s.header(name)
		switch {
		case notExist(err), errors.Is(err, slot.ErrBlank):
		case errors.Is(err, ErrVersion):
			return err
		case err != nil:
			s.lose(name, 0, "%v", err)
		case h.Kind != slot.Content:
		case seen[h.Number]:
			s.lose(name, 0, "there is another content file %d", h.Number)
		default:
			seen[h.Number] = true
			s.files = append(s.files, surveyFile{name, h})
		}
	}
	slices.SortFunc(s.files, func(a, b surveyFile) int { return cmp.Compare(a.h.Number, b.h.Number) })
	return nil
}

// seals reads where the first records of later files say that older ones end.
func (s *survey) seals() {
	s.mem.tail.seals = make(map[uint64]int64)
	for _, f := range s.files {
		file, err := s.fs.OpenFile(f.name, os.O_RDONLY, 0)
		if err != nil {
			continue
		}
		rec, _, err := slot.ReadRecord(file, f.h, slot.DataStart, nil)
		file.Close()
		if err != nil || rec.Type != slot.TypeSeal {
			continue
		}
		list, _ := slot.DecodeSeals(rec.Envelope)
		for _, l := range list {
			if old, ok := s.mem.tail.seals[l.File]; l.File < f.h.Number && (!ok || l.Length < old) {
				s.mem.tail.seals[l.File] = l.Length
			}
		}
	}
}

// open begins to read a content file. It returns nil when that cannot be.
func (s *survey) open(f surveyFile) (disk.File, *slot.Scanner) {
	file, err := s.fs.OpenFile(f.name, os.O_RDONLY, 0)
	if notExist(err) && !s.still {
		return nil, nil // freed since
	}
	var size int64
	if err == nil {
		if size, err = file.Size(); err != nil {
			file.Close()
		}
	}
	if err != nil {
		s.lose(f.name, 0, "%v", err)
		return nil, nil
	}
	durable := int64(0)
	c := s.mem.contents[f.h.Number]
	if c != nil {
		durable = c.offset
	}
	limit, ok := s.mem.tail.seals[f.h.Number]
	if c != nil && c.sealed {
		limit, ok = c.length, true
	}
	if ok {
		size, durable = min(size, limit), limit
	}
	scan := slot.NewScanner(file, f.h, size)
	scan.Durable = durable
	return file, scan
}

// about notes what the messages of a file take the place of: files of
// maildrop/, and recipients of other messages when qmgr has not met them yet. It
// reports whether the file holds anything.
func (s *survey) about(f surveyFile, c *contentFile) (used bool) {
	file, scan := s.open(f)
	if file == nil {
		return false
	}
	defer file.Close()
	for {
		rec, err := scan.Next()
		if err == io.EOF {
			return used
		}
		if err != nil {
			continue // reported when its messages are read
		}
		used = used || rec.Type != slot.TypeSeal
		switch rec.Type {
		case slot.TypeNames:
			list, _ := slot.DecodeNames(rec.Envelope)
			for _, n := range list {
				s.names[n.Name] = true
			}
		case slot.TypeMessage:
			env, err := mail.DecodeEnvelope(rec.Envelope)
			if err != nil {
				continue
			}
			if env.Replaces.Maildrop != "" {
				s.names[env.Replaces.Maildrop] = true
			}
			if env.Replaces.ID != "" && (c == nil || rec.Ref.Slot >= c.slots) {
				old := slot.Ref{File: env.Replaces.File, Slot: env.Replaces.Slot}
				x := s.crossed[old]
				for _, n := range env.Replaces.Recipients {
					if n < maxRecipients {
						x.Add(n)
					}
				}
				s.crossed[old] = x
			}
		}
	}
}

// messages reads the unfinished messages of a file.
func (s *survey) messages(f surveyFile) error {
	file, scan := s.open(f)
	if file == nil {
		return nil
	}
	defer file.Close()
	c := s.mem.contents[f.h.Number]
	dead := func(n uint32) bool { return c != nil && c.dead.has(n) }
	next := uint32(0)
	var bad *slot.Damage // and what stood there is not known yet
	between := func(to uint32) {
		for n := next; bad != nil && n < to; n++ {
			if !dead(n) {
				s.damage(f.name, bad, "")
				break
			}
		}
		bad = nil
	}
	for {
		rec, err := scan.Next()
		if err == io.EOF {
			if c != nil && c.passed {
				between(c.slots)
			} else if bad != nil {
				s.damage(f.name, bad, "")
			}
			return nil
		}
		if err != nil {
			if h, herr := s.header(f.name); !s.still && (herr != nil || h != f.h) {
				return nil // freed since, and written anew
			}
			var d *slot.Damage
			if !errors.As(err, &d) {
				s.damage(f.name, err, "")
			} else if d.Record == nil {
				bad = d
			} else if between(d.Record.Ref.Slot); !dead(d.Record.Ref.Slot) {
				s.lost(Loss{File: f.name, Offset: d.From, Reason: d.Reason, ID: d.Record.ID,
					Raw: io.NewSectionReader(file, d.From+recordHead, d.To-d.From-recordHead)})
			}
			if d != nil && d.Record != nil {
				next = d.Record.Ref.Slot + 1
			}
			continue
		}
		between(rec.Ref.Slot)
		next = rec.Ref.Slot + 1
		if rec.Type == slot.TypeMessage && !dead(rec.Ref.Slot) {
			if err := s.message(f.name, rec); err != nil {
				return err
			}
		}
	}
}

// recordHead is the length of a record's head (lib/slot).
const recordHead = 64
