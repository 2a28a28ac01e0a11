// Package mailq writes listings of the queue: as text, in the columns that Postfix's
// postqueue -p has for long queue ids, and as JSON, one object a line, with the names
// of postqueue -j. It imports mail and proto and writes to what it is given.
package mailq
