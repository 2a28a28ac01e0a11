package extract

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"postrider/lib/disk"
	"postrider/lib/maildrop"
	"postrider/lib/spool"
)

// A spool at work changes while it is read: a finding counts when it is there
// again a while later.
const (
	looks = 3
	pause = 200 * time.Millisecond
)

// Check verifies every file of the spool in folder dir, without lock and without
// changing anything, and returns what is wrong, a line for each thing. The error
// says that it is no spool that this program knows.
func Check(dir string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(dir, "incoming")); err != nil {
		return nil, fmt.Errorf("%s is no spool: %w", dir, err)
	}
	var found []string
	for look := 1; ; look++ {
		now, err := findings(disk.OS(dir))
		if err != nil {
			return nil, err
		}
		if look > 1 {
			now = slices.DeleteFunc(now, func(line string) bool { return !slices.Contains(found, line) })
		}
		if found = now; len(found) == 0 || look == looks {
			return found, nil
		}
		time.Sleep(pause)
	}
}

func findings(fsys disk.FS) ([]string, error) {
	var found []string
	lost := func(l spool.Loss) {
		who := ""
		if l.ID != "" {
			who = string(l.ID) + ": "
		}
		found = append(found, fmt.Sprintf("%s%s: offset %d: %s", who, l.File, l.Offset, l.Reason))
	}
	if err := spool.Verify(fsys, lost); err != nil {
		return nil, err
	}
	err := eachDrop(fsys, func(name string, f disk.File, err error) error {
		if err == nil {
			_, err = readDrop(f, func([]byte) error { return nil })
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			found = append(found, fmt.Sprintf("%s/%s: offset 0: %v", maildrop.Dir, name, err))
		}
		return nil
	})
	slices.Sort(found)
	return slices.Compact(found), err
}
