package dns

import (
	"context"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// cacheSize is how many answers are kept at most.
const cacheSize = 10000

type key struct {
	name  string
	qtype uint16
}

type entry struct {
	until time.Time
	a     *answer // nil while the question is under way
	done  chan struct{}
}

// cache keeps answers until their time is up. Those who ask for the same name at
// the same time share one question.
type cache struct {
	max int

	mu      sync.Mutex
	entries map[key]*entry
}

// get returns what is kept under k, or what ask finds, and until when that is kept. The question goes on when a
// caller gives up, since others may wait for it and the answer is worth keeping.
// The only error is that of ctx.
func (c *cache) get(ctx context.Context, k key, ask func(context.Context) (*answer, uint32)) (*answer, time.Time, error) {
	c.mu.Lock()
	e := c.entries[k]
	if e != nil && e.a != nil {
		if time.Now().Before(e.until) {
			c.mu.Unlock()
			return e.a, e.until, nil
		}
		e = nil
	}
	if e == nil {
		e = &entry{done: make(chan struct{})}
		c.makeRoom()
		c.entries[k] = e
		go c.fill(context.WithoutCancel(ctx), k, e, ask)
	}
	c.mu.Unlock()
	select {
	case <-e.done:
		return e.a, e.until, nil
	case <-ctx.Done():
		return nil, time.Time{}, ctx.Err()
	}
}

func (c *cache) fill(ctx context.Context, k key, e *entry, ask func(context.Context) (*answer, uint32)) {
	a, ttl := guard(ctx, k, ask)
	c.mu.Lock()
	e.a, e.until = a, time.Now().Add(time.Duration(max(ttl, minTTL))*time.Second)
	c.mu.Unlock()
	close(e.done)
}

// guard asks; an answer that makes the parser panic is none.
func guard(ctx context.Context, k key, ask func(context.Context) (*answer, uint32)) (a *answer, ttl uint32) {
	defer func() {
		if recover() != nil {
			a, ttl = &answer{err: temporary(k.name, dns.TypeToString[k.qtype])}, 0
		}
	}()
	return ask(ctx)
}

// makeRoom drops what is out of date, or else a handful of any, when the cache is
// full. c.mu is held.
func (c *cache) makeRoom() {
	if c.entries == nil {
		c.entries = map[key]*entry{}
	}
	if len(c.entries) < c.max {
		return
	}
	now := time.Now()
	for k, e := range c.entries {
		if e.a != nil && now.After(e.until) {
			delete(c.entries, k)
		}
	}
	drop := c.max / 8
	for k, e := range c.entries {
		if len(c.entries) < c.max-drop {
			break
		}
		if e.a != nil {
			delete(c.entries, k)
		}
	}
}
