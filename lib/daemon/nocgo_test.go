//go:build !cgo

package daemon

const withCgo = false
