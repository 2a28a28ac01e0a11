package dns

import (
	"context"
	"sync"
	"time"
)

// Validity is until when the answers hold that were used in a context.
type Validity struct {
	mu    sync.Mutex
	until time.Time
}

type validityKey struct{}

// Track returns a context whose lookups are noted in the Validity.
func Track(ctx context.Context) (context.Context, *Validity) {
	v := &Validity{}
	return context.WithValue(ctx, validityKey{}, v), v
}

func (v *Validity) note(until time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.until.IsZero() || until.Before(v.until) {
		v.until = until
	}
}

// Until returns when the first of the answers is dropped from the cache, or the zero time when
// nothing was asked.
func (v *Validity) Until() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.until
}
