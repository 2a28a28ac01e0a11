package extract

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/maildrop"
	"postrider/lib/slot"
)

// corruptDir is the folder of what is not tried any more, in the spool and in what is
// extracted.
const corruptDir = "corrupt"

// wholeMax is the largest file of corrupt/ that is looked into, in bytes; it holds one
// record.
const wholeMax = slot.MaxEnvelope + slot.MaxContent + 1<<16

// corrupt writes what is in corrupt/: messages that killed their readers are whole, and
// come out like others, so that an operator can send them anew; of the rest the bytes.
func (w *writer) corrupt() error {
	es, err := w.spool.ReadDir(corruptDir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range es {
		name := e.Name()
		if !e.Type().IsRegular() || strings.HasSuffix(name, ".reason") || strings.HasSuffix(name, ".content") {
			continue
		}
		if err := os.Mkdir(filepath.Join(w.dir, corruptDir), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		b, err := w.whole(name)
		if err != nil {
			w.result.Skipped++
			w.report(fmt.Sprintf("%s/%s: offset 0: %v", corruptDir, name, err))
			continue
		}
		if err := w.stray(name, b); err != nil {
			return err
		}
	}
	return nil
}

// whole reads a file of corrupt/.
func (w *writer) whole(name string) ([]byte, error) {
	return disk.ReadAll(w.spool, corruptDir+"/"+name, wholeMax)
}

// stray writes one file of corrupt/. It reads what has killed others: a panic leaves
// the bytes as they are.
func (w *writer) stray(name string, b []byte) (err error) {
	path := filepath.Join(w.dir, corruptDir, name)
	reason, _ := w.whole(name + ".reason")
	why := strings.Join(strings.Fields(string(reason)), " ")
	defer func() {
		if p := recover(); p != nil {
			w.report(fmt.Sprintf("%s/%s: panic: %v", corruptDir, name, p))
			err = os.WriteFile(path+".damaged", b, 0o600)
		}
	}()
	w.result.Corrupt++
	var e envelope
	e.some("reason", why)
	if drop, ok := strings.CutPrefix(name, maildrop.Dir+"."); ok {
		var content bytes.Buffer
		sub, err := readSubmission(bytes.NewReader(b), func(p []byte) error { content.Write(p); return nil })
		if err != nil {
			return os.WriteFile(path+".damaged", b, 0o600)
		}
		e.submission(drop, sub, int64(content.Len()))
		return pair(path, content.Bytes(), e.b)
	}
	rec, err := slot.StrayRecord(b)
	if err != nil || rec.Type != slot.TypeMessage {
		return os.WriteFile(path+".damaged", b, 0o600)
	}
	env, err := mail.DecodeEnvelope(rec.Envelope)
	if err != nil {
		return os.WriteFile(path+".damaged", b, 0o600)
	}
	content := rec.Content
	if rec.Flags&slot.FlagLarge != 0 {
		if content, err = w.whole(name + ".content"); err != nil {
			return os.WriteFile(path+".damaged", b, 0o600)
		}
	}
	e.corrupt(env, int64(len(content)), why)
	return pair(path, content, e.b)
}

func pair(path string, content, head []byte) error {
	return errors.Join(os.WriteFile(path+".eml", content, 0o600), os.WriteFile(path+".envelope", head, 0o600))
}

// corrupt describes a message of corrupt/ with the recipients that its reason names as
// not finished, or, when it does not name all, with every one.
func (e *envelope) corrupt(v *mail.Envelope, size int64, why string) {
	e.facts(v, corruptDir, size)
	_, left, told := strings.Cut(why, "; not finished:")
	told = told && !strings.HasSuffix(left, " more")
	for i := range v.Recipients {
		r := &v.Recipients[i]
		if told && !strings.Contains(left, "<"+string(r.Address)+">") {
			continue
		}
		e.recipient(r)
	}
}
