package qmgr

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// stateFiles are two files in data_directory that are written in turn, each in its
// place: qmgr opens them before it shuts its doors and can neither make nor rename a
// file there later. A file that was being written when the power went fails its
// checksum, and the other, older by one writing, is read.
type stateFiles struct {
	files      [2]*os.File
	generation uint64 // of the newest that is whole; the other is written next
	newest     int
	every      time.Duration // how often it is written at most
}

// stateNames are the names of the files.
var stateNames = [2]string{"qmgr.state.a", "qmgr.state.b"}

// A state file is a line of fixed length and what it speaks of: generation, length and
// CRC-32C of the rest (with the generation before it).
const (
	stateHead   = "postrider qmgr state %016x %08x %08x\n"
	stateLength = len("postrider qmgr state 0123456789abcdef 01234567 01234567\n")
	stateMax    = 16 << 20 // bytes of a whole file; the scheduler's snapshot has half
)

// errState is the kind of error of a file that holds no whole state.
var errState = errors.New("holds no whole state")

// openState opens both files, and makes those that are missing. Without them nothing
// is remembered, which costs some attempts after a restart and no mail.
func openState(dir string, warnf func(string, ...any)) *stateFiles {
	s := &stateFiles{every: noteEvery}
	for i, name := range stateNames {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
		if err == nil {
			var st os.FileInfo
			if st, err = f.Stat(); err == nil && !st.Mode().IsRegular() {
				err = fmt.Errorf("%s: no regular file", f.Name())
			}
		}
		if err != nil {
			warnf("%v: a restart will forget which destinations are dead, and how many connections each takes", err)
			s.close()
			return nil
		}
		s.files[i] = f
	}
	return s
}

func (s *stateFiles) close() {
	for _, f := range s.files {
		if f != nil {
			f.Close()
		}
	}
}

// read returns the newest state, nil when there was none yet, and says what is wrong
// with a file that cannot be used.
func (s *stateFiles) read(warnf func(string, ...any)) []byte {
	var best []byte
	for i, f := range s.files {
		generation, data, err := readState(f)
		if err != nil {
			warnf("%s: %v: it is left out", f.Name(), err)
			continue
		}
		if generation > s.generation {
			s.generation, s.newest, best = generation, i, data
		}
	}
	return best
}

// readState reads one file. An empty one has the generation 0.
func readState(f *os.File) (generation uint64, data []byte, err error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, stateMax+1))
	if err != nil || len(b) == 0 {
		return 0, nil, err
	}
	var length, sum uint32
	if len(b) > stateMax || len(b) < stateLength {
		return 0, nil, errState
	}
	if _, err := fmt.Sscanf(string(b[:stateLength]), stateHead, &generation, &length, &sum); err != nil {
		return 0, nil, errState
	}
	data = b[stateLength:]
	if int64(length) != int64(len(data)) || !bytes.Equal(b[:stateLength], stateLine(generation, data)) {
		return 0, nil, errState
	}
	return generation, data, nil
}

// stateLine is the first line of a file.
func stateLine(generation uint64, data []byte) []byte {
	sum := crc32.Update(crc32.Checksum(fmt.Appendf(nil, "%016x", generation), castagnoli), castagnoli, data)
	return fmt.Appendf(nil, stateHead, generation, len(data), sum)
}

// write puts data into the older of the two files. It is durable at the return without
// an error; after one the other file still has what it had.
func (s *stateFiles) write(data []byte) error {
	if len(data) > stateMax-stateLength {
		return fmt.Errorf("state of %d bytes: too large", len(data))
	}
	i, generation := 1-s.newest, s.generation+1
	f := s.files[i]
	line := stateLine(generation, data)
	if _, err := f.WriteAt(line, 0); err != nil { // from here on until all is written the checksum fails
		return err
	}
	if _, err := f.WriteAt(data, int64(len(line))); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(line) + len(data))); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	s.generation, s.newest = generation, i
	return nil
}
