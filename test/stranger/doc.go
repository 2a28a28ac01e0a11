// Package stranger holds a reader of the spool that was written from doc/spool.md
// alone, in another language (spool.py), and the test that compares it with
// postsuper -x. When they differ, the text or the code has a bug.
package stranger
