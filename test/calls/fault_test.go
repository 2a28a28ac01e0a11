package calls

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"postrider/test/supervisor"
)

// errnos are what a call may fail with: the disk, its quota and its mount, and the
// process's descriptors and memory.
var errnos = []unix.Errno{unix.EIO, unix.ENOSPC, unix.EDQUOT, unix.EMFILE, unix.ENOMEM, unix.EROFS}

// repeated is how many deliveries of a cycle a fault in a program may repeat: an agent
// may not hear, or not be able to say, what became of what it has in hand.
var repeated = map[string]int{"smtp": inCycle, "local": 2}

// inCycle are the deliveries of one cycle.
const inCycle = 12

// Each file and socket call of the programs fails in turn, once and for as long as mail
// is accepted, delivered, deferred and bounced and the queue is worked on. What was
// acknowledged comes out, what was refused never does, and nobody has to help.
func TestEachCallFails(t *testing.T) {
	run(t, func(s site, k int) (all []variant) {
		if s.program == "master" || s.op == "close" && s.place == "socket" {
			return nil // master makes no mail; a socket that is not closed is no fault of a disk
		}
		for _, err := range errnos {
			for _, forever := range []bool{false, true} {
				if forever && s.op == "read" && s.place != "socket" && s.place != "maildrop" {
					continue // a place that is not read again is a bad disk: lib/spool TestEveryBlockLost
				}
				all = append(all, variant{s, fmt.Sprintf("call %d: %v, forever %t", k, err, forever), func(*rig) *plan {
					return &plan{site: s, k: k, forever: forever, answer: supervisor.Answer{Err: err}}
				}, repeated[s.program]})
			}
		}
		return all
	})
}
