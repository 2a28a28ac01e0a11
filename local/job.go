package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"postrider/lib/mail"
)

// job is one thing to be done with a user's rights. It travels to the helper.
type job struct {
	// Forward are the paths where a .forward may be. One that is there and good takes
	// the mail in place of what follows: its text is the answer.
	Forward []string
	Home    string // if not empty, it must be reachable
	UID     uint32 // whose the .forward must be, besides root's

	// Transport takes the mail in place of all that follows. It is not the helper's business.
	Transport string `json:"-"`

	Group   bool   // the mailbox is in a directory of a group, which may write there
	Read    string // a file to be read: an :include:
	Maildir *maildir
	Mbox    *mbox
	Command *command
	User    string // for the words of a Status
}

// answer is what a helper says.
type answer struct {
	Status mail.Status
	Found  bool   // Text is that of a .forward or of the file to read
	Path   string // of the .forward
	Text   string // of the file
	Owner  uint32 // of the file
	Warn   string // what the operator is to hear
}

// maxList is how large a .forward or an :include: file may be, in bytes.
const maxList = 16 << 20

// do does a job. reached is called when the user's home has answered; before that a file
// server that is away may hold it up. fill gives the message.
func (j *job) do(reached func(), fill func(io.Writer) error) (a answer) {
	if j.Home != "" {
		if _, err := os.Stat(j.Home); err != nil {
			return answer{Status: deferred("4.3.0", fmt.Sprintf("cannot access home directory %s: %v", j.Home, reason(err)))}
		}
	}
	for _, path := range j.Forward {
		text, _, err := j.forward(path)
		var unsafe unsafeFile
		switch {
		case err == nil:
			reached()
			return answer{Found: true, Path: path, Text: text, Owner: j.UID}
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
			continue
		case errors.As(err, &unsafe):
			a.Warn = string(unsafe) // and the mailbox gets the mail, as in Postfix
			continue
		}
		return answer{Status: deferred("4.3.0", fmt.Sprintf("cannot read %s: %v", path, reason(err)))}
	}
	reached()
	switch {
	case j.Read != "":
		text, uid, err := readList(j.Read)
		if err != nil {
			a.Status = deferred("4.2.4", fmt.Sprintf("cannot open include file %s: %v", j.Read, reason(err)))
			return a
		}
		a.Found, a.Text, a.Owner = true, text, uid
	case j.Maildir != nil:
		a.Status = maildirStatus(j.Maildir.deliver(fill))
	case j.Mbox != nil:
		a.Status = j.Mbox.status(j.User, j.Mbox.deliver(fill))
	case j.Command != nil:
		a.Status = j.Command.run(fill)
	}
	return a
}

// reason is an error without the path that was said already.
func reason(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// unsafeFile is the kind of error of a file that others than its user may have written.
type unsafeFile string

func (e unsafeFile) Error() string { return string(e) }

// forward reads a .forward, when nobody but the user or root can have written it.
func (j *job) forward(path string) (string, uint32, error) {
	st, err := os.Lstat(path)
	if errors.Is(err, unix.EACCES) {
		return "", 0, fs.ErrNotExist // a home that is not the user's to enter: no .forward of his
	}
	if err != nil {
		return "", 0, err
	}
	if !st.Mode().IsRegular() {
		return "", 0, unsafeFile("file " + path + " is not a regular file")
	}
	if err := j.trust(path, st); err != nil {
		return "", 0, err
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return "", 0, err
	}
	if err := j.trust(filepath.Dir(path), dir); err != nil {
		return "", 0, err
	}
	return readList(path)
}

// trust says whether only the user and root can change a file or directory.
func (j *job) trust(path string, st os.FileInfo) error {
	owner := ownerOf(st)
	switch mode := st.Mode().Perm(); {
	case owner != 0 && owner != j.UID:
		return unsafeFile(fmt.Sprintf("file %s has bad owner uid %d", path, owner))
	case mode&0o002 != 0 && !(st.IsDir() && st.Mode()&os.ModeSticky != 0):
		return unsafeFile("file " + path + " is world writable")
	case mode&0o020 != 0 && !(st.IsDir() && st.Mode()&os.ModeSticky != 0):
		return unsafeFile("file " + path + " is group writable")
	}
	return nil
}

// readList reads a regular file that not everybody may write.
func readList(path string) (text string, owner uint32, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return "", 0, err
	case !st.Mode().IsRegular():
		return "", 0, errors.New("not a regular file")
	case st.Mode().Perm()&0o002 != 0:
		return "", 0, errors.New("it is world writable")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxList+1))
	if err == nil && len(b) > maxList {
		err = fmt.Errorf("larger than %d bytes", maxList)
	}
	return string(b), ownerOf(st), err
}
