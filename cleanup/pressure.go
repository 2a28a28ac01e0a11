package cleanup

import (
	"math"
	"sync"
	"time"
)

const (
	// slowest is how long the heaviest client waits for each message when the journal
	// is about to be full.
	slowest = 2 * time.Second
	// heavyHalf is the time in which what a client sent counts half as much.
	heavyHalf = 30 * time.Second
	// heavyMax bounds how many clients are remembered.
	heavyMax = 10000
)

// heavy slows those who fill the journal: above half of journal_size_limit each
// message waits the longer the fuller it is, and the more its client has sent lately
// in comparison with the others (spool.md, "Space"). So a flood from one host is slowed
// long before mail is refused, and the others hardly notice.
type heavy struct {
	mu    sync.Mutex
	bytes map[string]float64 // by client address, in units that grow with time
	total float64
	begin time.Time // when a byte counted one
}

// wait notes n bytes of a client and returns how long they have to wait, with used of
// limit bytes in the journal; limit 0 is none.
func (h *heavy) wait(now time.Time, client string, n, used, limit int64) time.Duration {
	half := limit / 2
	if limit <= 0 || used <= half {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	age := now.Sub(h.begin)
	if h.bytes == nil || len(h.bytes) >= heavyMax || age < 0 || age > 500*heavyHalf {
		h.bytes, h.total, h.begin, age = map[string]float64{}, 0, now, 0
	}
	weight := float64(n) * math.Exp2(age.Seconds()/heavyHalf.Seconds()) // instead of making the rest smaller
	h.bytes[client] += weight
	h.total += weight
	full := min(float64(used-half)/float64(limit-half), 1)
	times := h.bytes[client] / h.total * float64(len(h.bytes)) // 1 is what everybody sends
	return time.Duration(float64(slowest) * full * min(times/2, 1))
}
