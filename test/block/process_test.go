package block

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"postrider/test/ledger"
	"postrider/test/sink"
)

// restarted starts the programs on a state of the disk, delivers all there is, and
// judges: as look and judge do, by what comes out.
func (w *world) restarted(h *history, r *recording, c cut, m image) error {
	var l ledger.Ledger
	deleted, _ := h.at(c.pos, &l)
	before := h.before(c.pos)
	var mu sync.Mutex
	var again, back []ledger.Key
	w.listen(func(m *sink.Mail) {
		m.Tell(&l)
		mu.Lock()
		defer mu.Unlock()
		for _, to := range m.Recipients {
			k := ledger.Key{Message: m.ID, Recipient: to}
			if deleted[m.ID] {
				back = append(back, k)
			}
			if since, ok := before[k]; ok && r.at(c.pos).Sub(since) > window {
				again = append(again, k)
			}
		}
	}, func(m *sink.Mail) {
		if id, failed, err := ledger.Reported(m.Content); err == nil {
			l.Bounced(id, failed...)
		}
	})
	if err := w.disk.remount(m); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	w.down.Accept(w.t)
	w.Start()
	w.drain()
	w.down.Refuse()
	w.Account(&l)
	corrupt := slices.Collect(maps.Keys(w.Files("corrupt")))
	w.Kill()
	w.disk.unmount()
	v := l.Judge()
	err := v.Err()
	mu.Lock()
	defer mu.Unlock()
	if len(corrupt)+len(again)+len(back)+len(v.Both) > 0 {
		err = errors.Join(err, fmt.Errorf("in corrupt/: %v; deleted and delivered: %v; delivered again after %v: %v; delivered and bounced: %v",
			corrupt, back, window, again, v.Both))
	}
	w.t.Logf("started at %d: %v", c.pos, v)
	return err
}

// drain delivers all there is.
func (w *world) drain() {
	w.t.Helper()
	w.Run("postsuper", "-H", "ALL")
	next := time.Now()
	w.Await("an empty queue", func() bool {
		if time.Now().After(next) {
			w.Run("postqueue", "-f")
			next = time.Now().Add(time.Second)
		}
		return w.Drained()
	})
}
