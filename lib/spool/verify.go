package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// Verify reads every file of a spool without its lock, whatever is alive in it,
// and calls lost for each thing that is wrong: what a Survey would miss, and
// damage that costs nothing now. It changes nothing. Of a spool at work a finding
// may be gone at the next look. The error is ErrVersion.
func Verify(fsys disk.FS, lost func(Loss)) error {
	v := &verifier{fs: fsys, lost: lost}
	b, err := disk.ReadAll(fsys, versionFile, 0)
	if err != nil || string(b) != versionText {
		v.lose(versionFile, 0, "is not what it should be (%v)", err)
	}
	v.each(dirLog, func(name string) {
		if strings.HasPrefix(name, dirLog+"/ckpt.") {
			q := newSurvey(fsys, nil).mem
			if _, _, err := q.loadCheckpoint(name); err != nil && !notExist(err) {
				v.lose(name, 0, "%v", err)
			}
			return
		}
		v.slots(name, []slot.Kind{slot.Log, slot.Free}, v.logRecord)
	})
	for _, dir := range []string{dirDeferred, dirHold} {
		v.each(dir, func(name string) { v.slots(name, []slot.Kind{slot.State, slot.Hold}, v.stateRecord) })
	}
	v.each(dirIncoming, func(name string) { v.slots(name, []slot.Kind{slot.Content, slot.Free}, v.contentRecord) })
	_, err = Survey(fsys, func(m *Found) error {
		if m.large == nil {
			return nil
		}
		if err := m.WriteContent(io.Discard); err != nil {
			v.lost(Loss{File: m.LargeName(), Reason: err.Error(), ID: m.Envelope.ID})
		}
		return nil
	}, lost)
	return err
}

type verifier struct {
	fs   disk.FS
	lost func(Loss)
}

func (v *verifier) lose(file string, offset int64, format string, a ...any) {
	v.lost(Loss{File: file, Offset: offset, Reason: fmt.Sprintf(format, a...)})
}

func (v *verifier) each(dir string, f func(name string)) {
	es, err := v.fs.ReadDir(dir)
	if err != nil {
		v.lose(dir, 0, "%v", err)
	}
	for _, e := range es {
		if !e.Type().IsRegular() {
			v.lose(dir+"/"+e.Name(), 0, "no regular file")
			continue
		}
		f(dir + "/" + e.Name())
	}
}

// slots reads all records of a file of one of these kinds.
func (v *verifier) slots(name string, kinds []slot.Kind, each func(rec *slot.Record) error) {
	f, err := v.fs.OpenFile(name, os.O_RDONLY, 0)
	if notExist(err) {
		return
	}
	if err != nil {
		v.lose(name, 0, "%v", err)
		return
	}
	defer f.Close()
	h, err := slot.ReadHeader(f)
	size, serr := f.Size()
	switch {
	case serr != nil:
		v.lose(name, 0, "%v", serr)
		return
	case errors.Is(err, slot.ErrBlank) && size <= slot.DataStart:
		return // was being made
	case errors.Is(err, slot.ErrBlank):
		if found, ferr := slot.FindHeader(f, size); ferr != nil || found.Number == 0 {
			return // written in advance
		}
		fallthrough
	case err != nil:
		v.lose(name, 0, "%v", err)
		if h, err = readHeader(f); err != nil {
			return
		}
	}
	known := false
	for _, k := range kinds {
		known = known || h.Kind == k
	}
	if !known {
		v.lose(name, 0, "a file of kind %v is out of place", h.Kind)
		return
	}
	if h.Kind == slot.Free {
		return
	}
	s := slot.NewScanner(f, h, size)
	for {
		rec, err := s.Next()
		if err == io.EOF {
			return
		}
		var d *slot.Damage
		switch {
		case errors.As(err, &d):
			v.lose(name, d.From, "%d bytes are damaged: %s", d.To-d.From, d.Reason)
		case err != nil:
			v.lose(name, s.Offset(), "%v", err)
			return
		default:
			if err := each(rec); err != nil {
				v.lost(Loss{File: name, Offset: rec.Offset, Reason: err.Error(), ID: rec.ID})
			}
		}
	}
}

func (v *verifier) logRecord(rec *slot.Record) error {
	return decodeEntries(rec.Content, func(*entry) {})
}

func (v *verifier) stateRecord(rec *slot.Record) error {
	_, err := decodeState(rec.Envelope)
	return err
}

func (v *verifier) contentRecord(rec *slot.Record) error {
	var err error
	switch rec.Type {
	case slot.TypeMessage:
		var env *mail.Envelope
		if env, err = mail.DecodeEnvelope(rec.Envelope); err == nil && env.ID != rec.ID {
			err = fmt.Errorf("envelope of %s: %w", env.ID, ErrDamaged)
		}
	case slot.TypeSeal:
		_, err = slot.DecodeSeals(rec.Envelope)
	case slot.TypeNames:
		_, err = slot.DecodeNames(rec.Envelope)
	}
	return err
}
