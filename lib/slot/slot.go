package slot

import (
	"cmp"
	"errors"
	"fmt"

	"postrider/lib/mail"
)

// Kind says what a file is for.
type Kind uint8

// The kinds of files. Values are on disk and keep their meaning.
const (
	Free    Kind = iota + 1 // may be taken for a new life
	Content                 // incoming/NNN: messages, written by cleanup
	Store                   // store/NNN: survivors of thin content files
	State                   // deferred/MINUTE.run: state records due then
	Hold                    // hold/NNN: state records without a due time
	Log                     // log/NNN: qmgr's decisions
)

func (k Kind) String() string {
	switch k {
	case Free:
		return "free"
	case Content:
		return "content"
	case Store:
		return "store"
	case State:
		return "state"
	case Hold:
		return "hold"
	case Log:
		return "log"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Ref is the place of a record among all files of its kind: the number of its
// file and its own number there. That of a content record is the message's
// identity for good, even when the record is copied to a store file. Numbers of
// files are never given twice.
type Ref struct {
	File uint64
	Slot uint32
}

func (r Ref) String() string { return fmt.Sprintf("%d/%d", r.File, r.Slot) }

// Compare orders by file, then slot: for content that is the order of arrival.
func (r Ref) Compare(o Ref) int {
	return cmp.Or(cmp.Compare(r.File, o.File), cmp.Compare(r.Slot, o.Slot))
}

// Position is a place in a series of files: everything before Offset of the
// file, and all files with smaller numbers.
type Position struct {
	File   uint64
	Offset int64
}

// Compare orders positions.
func (p Position) Compare(o Position) int {
	return cmp.Or(cmp.Compare(p.File, o.File), cmp.Compare(p.Offset, o.Offset))
}

// Sizes, in bytes.
const (
	Align       = 64       // records begin at multiples of it
	HeaderSize  = 4 << 10  // one copy of the file header
	DataStart   = 8 << 10  // offset of the first record: behind two headers
	HeaderEvery = 1 << 20  // a copy of the header at least this often
	MaxEnvelope = 16 << 20 // longest envelope of a record
	MaxContent  = 64 << 20 // longest content in a record, whatever the options say
	headSize    = 64       // fixed part of a record
	maxID       = 64       // longest queue id
)

// Types of records in content and store files. State, hold and log files have
// types of their own.
const (
	TypeMessage uint8 = 1 // a message: mail.Envelope, content
	TypeSeal    uint8 = 2 // lengths of earlier files, see AppendSeals
	TypeNames   uint8 = 3 // names in maildrop, see AppendNames
	TypeCopy    uint8 = 4 // a message that was first stored elsewhere, see AppendCopy
)

// Flags of a TypeMessage record.
const (
	FlagLarge    uint8 = 1 << iota // the content is in content/ID; here stands a Large
	FlagMaildrop                   // the envelope replaces a file in maildrop/
)

// Record is one slot of a file. The writer gives the first group of fields, the
// encoder and the scanner set the others.
type Record struct {
	Type       uint8
	Flags      uint8
	Generation uint32
	ID         mail.QueueID
	Envelope   []byte // or whatever the type holds; at most MaxEnvelope
	Content    []byte // nil when a lazy Scanner passed over it

	Ref         Ref
	Offset      int64 // in the file; a multiple of Align
	Size        int64 // bytes it takes up, a multiple of Align
	SyncedBelow int64 // what was durable before its batch was begun
	ContentSize int   // length of Content, also when that was passed over
	contentCRC  uint32
}

// End returns the offset behind the record.
func (r *Record) End() int64 { return r.Offset + r.Size }

// Errors by kind.
var (
	// ErrDamage: bytes that were durable are not what was written. The error
	// itself is a *Damage when it comes from a Scanner.
	ErrDamage = errors.New("slot: damaged")
	// ErrBlank: the file has no header and nothing but zeros in its place; it
	// was being made when its maker stopped, or a header was lost.
	ErrBlank = errors.New("slot: no file header")
	// ErrVersion: the file is of a format that this program does not know.
	ErrVersion = errors.New("slot: unknown format version")
	// ErrTooLarge: envelope, content or queue id exceed the format's limits.
	ErrTooLarge = errors.New("slot: record too large")
)
