package maildrop

import (
	"fmt"
	"strings"
	"time"

	"postrider/lib/mail"
)

// Dir is where the files are, below the queue directory.
const Dir = "maildrop"

// Socket is where cleanup takes, below the queue directory, the mail of who cannot write
// to Dir: the same bytes that a file would have, then the end of the file. It answers as
// postdrop -r does: an exit code, a blank, the queue id or what is wrong, a line feed.
const Socket = "public/submit"

// TempPrefix begins the name of a file that is still being written.
const TempPrefix = ".new."

// NewName makes the final name of a file. Names are never given twice, since cleanup
// takes a name it knows for a message it has: random must come from the system's
// source of randomness. A name has the form of a queue id, so that postqueue and
// postsuper can show and take it.
func NewName(now time.Time, random uint64) string {
	var ids mail.IDs
	return fmt.Sprintf("%s_%016x", ids.Next(now), random)
}

// ValidName says whether a file of this name is ours to read.
func ValidName(name string) bool { return mail.QueueID(name).Valid() }

// Temporary says whether name is that of a file that was not finished when the
// directory was read.
func Temporary(name string) bool { return strings.HasPrefix(name, TempPrefix) }
