package cleanup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"postrider/lib/journal"
)

// answered is called when the journal is done with a submission; it must not wait.
func (r *dropReader) answered(name string, err error) {
	if err == nil {
		go r.finish(name)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(err, journal.ErrUnknown) {
		// It may be on the disk already. What the next start finds there decides.
		r.unsure[name] = true
		r.log.Warnf("%s/%s: only the next cleanup can tell whether it has become a message", dropDir, name)
		r.s.settle()
	} else {
		r.failed = true
		time.AfterFunc(failedPause, r.look) // the answer may come when the scan is long over
	}
	delete(r.busy, name)
	r.idle.Broadcast()
}

// finish removes the file of a message that is durable.
func (r *dropReader) finish(name string) {
	if err := r.remove(name); err != nil {
		r.log.Warnf("%s/%s: %v", dropDir, name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.busy, name)
	r.idle.Broadcast()
}

// remove removes a file whose message the journal has. Until that has worked the
// journal keeps the name; a removal that a power cut undoes is done again at the
// start.
func (r *dropReader) remove(name string) error {
	if err := os.Remove(filepath.Join(r.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("its message is in the queue, but it cannot be removed: %w", err)
	}
	r.s.journal.Forget(name)
	return nil
}
