// Package maildrop is the file between postdrop and cleanup: one message as a user
// submitted it, in maildrop/ below the queue directory, and the same records on the
// pipe between sendmail and postdrop.
//
// A file is eight bytes that name the format and its version, then records: a type
// (1 byte), a length (uvarint), that many bytes. What is said of the message comes
// first (sender, full name, options, who and when), then the recipients, then the
// content in pieces, then the end record, whose four bytes are the CRC-32C of all
// before it. A file without a good end record is no message: it may be half
// written. Nothing may stand behind the end.
//
// Whoever wrote the file is a user of the machine: the Reader takes nothing on
// trust and bounds everything but the content, of which it holds one piece.
// The package reads and writes what it is given and opens nothing. It imports
// lib/mail only, since postdrop runs set-gid.
package maildrop
