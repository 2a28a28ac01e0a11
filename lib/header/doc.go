// Package header reads and writes the header of a message (RFC 5322) without
// ever holding more of it than a limit, in time linear in its length. The Scanner
// takes content in pieces, as it comes from a socket, and tells where each field
// and where the header ends; Addresses finds the mailboxes of an address list;
// AppendField writes a folded field. Content is hostile: nothing here trusts a
// length, a nesting or a line end.
//
// The package touches no file and no clock and imports lib/mail only.
package header
