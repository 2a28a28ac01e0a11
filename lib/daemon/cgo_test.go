//go:build cgo

package daemon

// cgo programs cannot make a system call on all threads; make builds without.
const withCgo = true
