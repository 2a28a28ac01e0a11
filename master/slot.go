package master

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// young is how soon after its start a daemon's death counts as a failure of the
// start.
const young = 10 * time.Second

// slot is a place for one process that master keeps filled.
type slot struct {
	instance
	child    *child      // nil while there is none
	timer    *time.Timer // of the next start, or nil
	failures int         // deaths in a row soon after the start
	fault    string      // how the last process died by its own fault, or ""
	faults   []time.Time // when processes died so that had been ready
	memory   *os.File    // for notes, see giveSuspects
	wanted   bool        // the configuration asks for it
	place    int         // in the order of the log from 1 on, see giveOrder; 0 before the first start
}

// pause is how long to wait before the next start: nothing the first time, then
// twice as long each time, up to limit.
func (s *slot) pause(lived, limit time.Duration) time.Duration {
	if lived >= young {
		s.failures = 0
		return 0
	}
	s.failures++
	if s.failures == 1 {
		return 0
	}
	return min(time.Second<<min(s.failures-2, 20), limit)
}

// obituary says how a process ended, in Postfix's words, or "" when all is well.
func obituary(path string, pid int, state *os.ProcessState) string {
	if state == nil {
		return fmt.Sprintf("process %s pid %d is gone", path, pid)
	}
	ws, ok := state.Sys().(syscall.WaitStatus)
	switch {
	case ok && ws.Signaled():
		return fmt.Sprintf("process %s pid %d killed by signal %d", path, pid, ws.Signal())
	case state.ExitCode() != 0:
		return fmt.Sprintf("process %s pid %d exit status %d", path, pid, state.ExitCode())
	}
	return ""
}
