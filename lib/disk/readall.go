package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrTooLarge is the kind of error for a file beyond the limit of ReadAll.
var ErrTooLarge = errors.New("file too large")

// ReadAll reads a file. One of more than max bytes is ErrTooLarge; 0 is no limit.
func ReadAll(fsys FS, name string, max int64) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if max > 0 && size > max {
		return nil, fmt.Errorf("%s: %d bytes: %w", name, size, ErrTooLarge)
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) { // it has become shorter meanwhile
		err = nil
	}
	return b[:n], err
}
