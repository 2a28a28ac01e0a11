package spool

import (
	"cmp"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"postrider/lib/slot"
)

// copies reads the messages that were copied to store/, the newest files first. of
// tells the content files whose own file is there: when memory is not sure of
// anything, that is read instead.
func (s *survey) copies(own map[uint64]bool) error {
	es, err := s.fs.ReadDir(dirStore)
	if err != nil {
		s.lose(dirStore, 0, "%v", err)
		return nil
	}
	var files []surveyFile
	for _, e := range es {
		name := dirStore + "/" + e.Name()
		if !e.Type().IsRegular() || strings.HasSuffix(name, ".idx") {
			continue
		}
		h, err := s.header(name)
		switch {
		case notExist(err), errors.Is(err, slot.ErrBlank):
		case errors.Is(err, ErrVersion):
			return err
		case err != nil:
			s.lose(name, 0, "%v", err)
		case h.Kind == slot.Store && (!s.sure || s.mem.stores[h.Number] != nil):
			files = append(files, surveyFile{name, h})
		}
	}
	slices.SortFunc(files, func(a, b surveyFile) int { return -cmp.Compare(a.h.Number, b.h.Number) })
	for _, f := range files {
		read := make(map[uint64]bool)
		if err := s.copiesIn(f, own, read); err != nil {
			return err
		}
		for n := range read {
			own[n] = true // an older store file adds nothing
		}
	}
	return nil
}

func (s *survey) copiesIn(f surveyFile, own, read map[uint64]bool) error {
	file, err := s.fs.OpenFile(f.name, os.O_RDONLY, 0)
	if notExist(err) && !s.still {
		return nil
	}
	if err != nil {
		s.lose(f.name, 0, "%v", err)
		return nil
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		s.lose(f.name, 0, "%v", err)
		return nil
	}
	st := s.mem.stores[f.h.Number]
	if st != nil {
		size = min(size, st.length)
	}
	scan := slot.NewScanner(file, f.h, size)
	scan.Durable = size
	for {
		rec, err := scan.Next()
		if err == io.EOF {
			return nil
		}
		var d *slot.Damage
		if errors.As(err, &d) && d.Record != nil {
			s.lost(Loss{File: f.name, Offset: d.From, Reason: d.Reason, ID: d.Record.ID,
				Raw: io.NewSectionReader(file, d.From+recordHead, d.To-d.From-recordHead)})
			continue
		}
		if err != nil {
			s.damage(f.name, err, "")
			continue
		}
		if rec.Type != slot.TypeCopy {
			continue
		}
		if err := original(rec); err != nil {
			s.damage(f.name, err, "")
			continue
		}
		c := s.mem.contents[rec.Ref.File]
		switch {
		case c != nil && c.dead.has(rec.Ref.Slot), own[rec.Ref.File], s.freed[rec.Ref.File]:
			continue
		case s.sure && (c == nil || c.store != st):
			continue
		}
		read[rec.Ref.File] = true
		if err := s.message(f.name, rec); err != nil {
			return err
		}
	}
}
