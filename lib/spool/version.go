package spool

import (
	"fmt"
	"strings"

	"postrider/lib/disk"
)

const (
	versionFile   = "version"
	versionPrefix = "postrider spool "
	versionText   = versionPrefix + "1\n"
)

// CheckVersion returns ErrVersion when the spool is of a format that this program does
// not know, so that nobody writes a message into it. A version file that is not there,
// or says nothing, is no reason to refuse: each file of the spool has a version, too.
func CheckVersion(fsys disk.FS) error {
	b, err := disk.ReadAll(fsys, versionFile, 0)
	if notExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	_, err = knows(b)
	return err
}

// knows says whether the text of a version file is this program's. Of one that is
// damaged it says no without an error.
func knows(b []byte) (bool, error) {
	number, is := strings.CutPrefix(strings.TrimSuffix(string(b), "\n"), versionPrefix)
	switch {
	case string(b) == versionText:
		return true, nil
	case is && number != "" && strings.Trim(number, "0123456789") == "":
		return false, fmt.Errorf("%w: %q; this program knows %q", ErrVersion, versionPrefix+number, strings.TrimSpace(versionText))
	}
	return false, nil
}
