//go:build !smallfiles

package spool

import "time"

// compactEvery is how often thin files are looked for.
const compactEvery = time.Minute

// What Options say where they are 0.
const (
	defaultLogSize   = 64 << 20
	defaultStoreSize = 64 << 20
	defaultRunSlots  = 32768
)
