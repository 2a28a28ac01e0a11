// Package suspect tells a process what the one before it died of. A crash of a
// process must not become a crash of the mail: what it was reading when it died by
// its own fault is read again with nothing else beside it, and what kills twice so
// is not read any more.
//
// Notes are memory that outlives the process: master makes it and hands it to each
// process in the same place. Writing down what is about to be read costs a copy of
// some bytes, no system call, so it is done always and not only after a crash.
// Strikes are what was concluded from notes, in a small file, so that neither the
// death of master nor that of the machine starts the count anew.
//
// The package touches the two descriptors that it is given and no file by name.
package suspect
