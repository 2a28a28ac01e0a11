package journal

import (
	"errors"
	"fmt"
	"os"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// errHalted ends what the keeper does when the journal is closed.
var errHalted = errors.New("stopped")

// prepare makes a spare of a new file, of one that was left half made, or of one
// that qmgr freed: header free, and written up to the size of a file, so that
// syncs of records change no metadata.
func (k *keeper) prepare(name string, isNew bool) (err error) {
	flag := os.O_RDWR
	if isNew {
		flag |= os.O_CREATE | os.O_EXCL
	}
	f, err := k.j.o.FS.OpenFile(dirIncoming+name, flag, fileMode)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			k.fail(name, isNew)
			return
		}
		k.gone(name)
		k.mu.Lock()
		k.files[name] = spare
		k.spares = append(k.spares, name)
		k.mu.Unlock()
	}()
	size, err := f.Size()
	if err != nil {
		return err
	}
	h, err := slot.ReadHeader(f)
	made := false // by us: whatever stands there is ours to overwrite
	switch {
	case errors.Is(err, slot.ErrBlank) && blank(f, size):
		made, h = true, slot.Header{Kind: slot.Free, Key: slot.NewKey(), Created: k.j.o.Now().UnixMicro()}
	case err != nil:
		return err
	case h.Kind != slot.Free:
		return fmt.Errorf("said to be free, but is a %v file", h.Kind)
	}
	if err := k.extend(f, size); err != nil {
		return err
	}
	if !made {
		return nil
	}
	if err := slot.WriteHeader(f, h); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return k.j.o.FS.SyncDir(dirIncoming)
}

// fail leaves a file alone after an error; one of our own making goes.
func (k *keeper) fail(name string, isNew bool) {
	if isNew && k.j.o.FS.Remove(dirIncoming+name) == nil {
		k.forget(name)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.files[name] = living // unless qmgr says again that it is free
}

var zeros [1 << 20]byte

// extend writes zeros up to the size of a file, and syncs now and then so that
// not all of it stands before the committer's syncs at once.
func (k *keeper) extend(f disk.File, size int64) error {
	const syncEvery = 8 << 20
	unsynced := int64(0)
	for want := k.j.o.FileSize; size < want; {
		if k.halted() {
			return errHalted
		}
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), want-size)], size)
		size += int64(n)
		unsynced += int64(n)
		if err != nil {
			return err
		}
		if unsynced >= syncEvery || size >= want {
			if err := f.Sync(); err != nil {
				return err
			}
			unsynced = 0
		}
	}
	return nil
}
