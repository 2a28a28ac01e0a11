// Package postmap is the command postmap(1), and postalias(1) by its other name: it
// makes the indexed file of a lookup table from its text, asks a table of any type for
// keys, lists it, and deletes keys.
//
//	main.go     the command line, and what it leads to
//	lookup.go   -q, -s, -h, -b
//	build.go    the records of the new index
//	replace.go  the file that takes the place of the old one, as a whole
//
// The daemons read an index where it lies, so it is never changed: the new one is written
// beside it, synced, and renamed, and master sees that and hands it out.
package postmap
