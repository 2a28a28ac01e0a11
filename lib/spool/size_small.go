//go:build smallfiles

package spool

import "time"

const compactEvery = 500 * time.Millisecond

// With these, programs that a test builds seal, free and compact files and make
// checkpoints within seconds.
const (
	defaultLogSize   = 256 << 10
	defaultStoreSize = 256 << 10
	defaultRunSlots  = 64
)
