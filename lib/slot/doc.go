// Package slot is the format of the spool's files: numbered files of slots.
// A file is a header and then records 0, 1, 2, ... in batches, written once,
// front to back, by one writer; it grows until it is sealed and is then
// recycled in place under a new number and a new random key.
//
// # File
//
// The header takes the first 4 KiB and, again, the second: DataStart is 8 KiB.
// Two copies at fixed places are trusted because nobody outside decides what
// stands there. Further copies are put before the first record at or behind
// each MiB and behind the last record of a sealed file (with the length
// there); they serve when the fixed ones are lost, see FindHeader.
//
// # Record
//
// A record begins at a multiple of 64 bytes with a head of 64, little endian:
//
//	 0 key of the file        32 slot (4)                48 content length (4)
//	 8 number of the file     36 type, flags, id length, 0   52 CRC of the envelope
//	16 own offset             40 generation (4)          56 CRC of the content
//	24 synced_below           44 envelope length (4)     60 CRC of head and id
//
// then the queue id, the envelope and the content, and zeros up to the next
// multiple of 64. CRCs are CRC-32C, seeded with the file's key; those of
// envelope and content with the offset too. So content that imitates a record,
// the remains of an earlier life of the file and bytes that were shifted do
// not pass.
//
// # Torn or damaged
//
// Each record says in synced_below what part of its file was durable before
// its batch was begun. Bytes that are no record are damage when a later record
// of the file, or somebody else (Scanner.Durable), says that they were durable.
// Otherwise they are the torn tail of a batch that nobody was told is safe, and
// the file ends before them. So a power cut never looks like damage.
//
// The package imports lib/mail for the queue id and does no I/O but through
// the io.ReaderAt and io.WriterAt that it is given. It asks no clock.
package slot
