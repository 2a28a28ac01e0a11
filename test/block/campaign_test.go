package block

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"postrider/test/ledger"
)

// atOnce is how many disks of a campaign are mounted and judged at the same time: most
// of the time of a state goes by while the kernel waits for itself.
const atOnce = 4

// round is how many states one disk gets in a row, in the order of the log.
const round = 25

// campaign judges many states of one recording.
type campaign struct {
	h      *history
	r      *recording
	seed   uint64
	states int       // how many
	until  time.Time // no round begins later, but the first of each disk

	mu   sync.Mutex
	next int // round
	err  error
	sum  tally
}

// tally is what many states come to.
type tally struct {
	states, repeating, again int
	oldest                   time.Duration
}

// run goes through all states, on d and some more disks like it. The error is that of
// the first state that is not as it has to be.
func (c *campaign) run(t *testing.T, d *disk) error {
	disks := []*disk{d}
	for !d.fs.alone && len(disks) < min(atOnce, c.states/round) {
		disks = append(disks, blankDisk(t, d.fs))
	}
	var wg sync.WaitGroup
	for _, d := range disks {
		wg.Go(func() {
			for n, ok := c.take(true); ok; n, ok = c.take(false) {
				cuts := c.r.cuts(min(round, c.states-n*round), c.seed+uint64(n))
				if err := c.r.states(cuts, func(at cut, m image) error { return c.listed(d, at, m) }); err != nil {
					c.fail(err)
				}
			}
		})
	}
	wg.Wait()
	return c.err
}

// take returns the number of a round that nobody has done.
func (c *campaign) take(first bool) (n int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.next*round >= c.states || !first && time.Now().After(c.until) {
		return 0, false
	}
	c.next++
	return c.next - 1, true
}

func (c *campaign) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// listed mounts a state of a disk, starts the spool, lists what is there, and judges.
func (c *campaign) listed(d *disk, at cut, m image) error {
	was := slices.Clone(m) // before recovery
	if err := d.remount(m); err != nil {
		return fmt.Errorf("mount: %w%s", err, keep(was))
	}
	var l ledger.Ledger
	deleted, held := c.h.at(at.pos, &l)
	x, err := look(d.dir, &l, func() { d.pull(shutNoLogFlush) })
	if err := d.leave(); err != nil {
		return err
	}
	again, age := 0, time.Duration(0)
	if err == nil {
		again, age, err = x.judge(c.h, at.pos, c.r.at(at.pos), deleted, held)
	}
	if err != nil {
		return fmt.Errorf("%w; recovery said %q%s", err, x.logs, keep(was))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := &c.sum
	sum.states++
	sum.again += again
	if again > 0 {
		sum.repeating++
	}
	sum.oldest = max(sum.oldest, age)
	return nil
}
