//go:build !smallfiles

package spool

// What Options say where they are 0.
const (
	defaultLogSize   = 64 << 20
	defaultStoreSize = 64 << 20
	defaultRunSlots  = 32768
)
