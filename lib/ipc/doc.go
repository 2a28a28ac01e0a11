// Package ipc is how the programs of one instance talk: frames over connected
// Unix stream sockets, written by a combining writer and read many at a time.
//
// A frame is a length (4 bytes, little endian, of what follows the header), a
// type (1 byte), the number of descriptors that come with it (1 byte), and the
// payload. The cap on the length is checked before anything is allocated. Wake-ups
// are the cost, not bytes: whoever sends appends to a buffer under a lock, and the
// first of them yields once and writes all there is; a reader takes every frame
// of one read before it acts on them (Next while Buffered).
//
// The package touches the sockets it is given and nothing else. What the frames
// mean is package proto's business.
package ipc
