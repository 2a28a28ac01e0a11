package powercut

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"postrider/lib/disk"
)

// errnos are what a call may fail with: the disk, its quota and its mount, and the
// process's descriptors and memory.
var errnos = []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENOMEM, syscall.EROFS}

// envFaults asks for every fault of the loop below, and gives the seeds, "20" for 0 to 19.
const envFaults = "POSTRIDER_FAULTS"

// Each file call of the spool and of the journal fails at its k-th occurrence, once, or
// from then on for a while in which everything is tried again, while mail is accepted,
// deferred, retried, held, deleted, copied together, checkpointed and recovered. What was
// acknowledged comes out, what was refused never does, and nobody has to help.
//
// The tests take each error with the calls of one sixth; POSTRIDER_FAULTS=SEEDS takes all.
func TestEachFault(t *testing.T) {
	seeds, all := uint64(1), false
	if v := os.Getenv(envFaults); v != "" {
		if _, err := fmt.Sscan(v, &seeds); err != nil {
			t.Fatalf("%s: %v", envFaults, err)
		}
		all = true
	}
	every := len(errnos)
	runs, met := 0, map[disk.Op]int{}
	start := time.Now()
	for seed := range seeds {
		for _, op := range []disk.Op{disk.OpOpen, disk.OpRemove, disk.OpMkdir, disk.OpReadDir, disk.OpSyncDir, disk.OpStat,
			disk.OpFree, disk.OpRead, disk.OpWrite, disk.OpTruncate, disk.OpSync, disk.OpClose} {
			for k, beyond := 0, 0; beyond < 3; k++ { // the programs' goroutines do not always make equally many calls
				ran, reached := false, false
				for n := range errnos {
					if !all && (n+k)%every != 0 {
						continue
					}
					for _, forever := range []bool{false, true} {
						if forever && op == disk.OpRead {
							continue // a place that is never read again is a bad disk: lib/spool TestEveryBlockLost
						}
						f := disk.Fault{Op: op, After: k, Forever: forever, Err: errnos[n]}
						runs++
						ran = true
						if withFault(t, seed, f) {
							met[op]++
							reached = true
						}
					}
				}
				switch {
				case reached:
					beyond = 0
				case ran:
					beyond++
				}
			}
		}
	}
	t.Logf("%d runs, of which met their fault: %v, in %v", runs, met, time.Since(start).Round(time.Millisecond))
	for _, op := range []disk.Op{disk.OpOpen, disk.OpRemove, disk.OpReadDir, disk.OpSyncDir, disk.OpStat, disk.OpRead, disk.OpWrite, disk.OpTruncate, disk.OpSync, disk.OpClose} {
		if met[op] == 0 {
			t.Errorf("no %s failed", op)
		}
	}
}

// withFault runs a history with one fault in it and says whether it was met.
func withFault(t *testing.T, seed uint64, f disk.Fault) (met bool) {
	w := newWorld(t, seed)
	w.script, w.faults, w.stays = true, true, 12
	w.note("fault %+v", f)
	before := w.disk.Calls(f.Op)
	w.disk.Fail(f)
	for range 70 {
		w.operate()
	}
	if how := crash(f.After / 2 % 4); how != power { // that would take the fault away
		w.crash(how)
		for range 10 {
			w.operate()
		}
	}
	met = w.disk.Calls(f.Op)-before > f.After
	w.finish()
	if es, _ := w.disk.ReadDir("corrupt"); len(es) > 0 {
		w.fail("corrupt/%s after a fault that was reported", es[0].Name())
	}
	return met
}
