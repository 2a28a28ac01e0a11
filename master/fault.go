package master

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/proto"
	"postrider/lib/suspect"
)

// runtimeFault is the exit status of a Go program that ended by a panic nobody caught
// or by an error its runtime cannot survive (out of memory, stack, maps).
const runtimeFault = 2

// faultOf says how a process died when that was its own fault, or "". A SIGKILL is
// from outside, unless the kernel had killed for want of memory since the last look.
func faultOf(state *os.ProcessState, starved bool) string {
	if state == nil {
		return ""
	}
	ws, ok := state.Sys().(syscall.WaitStatus)
	switch {
	case ok && ws.Signaled():
		switch sig := ws.Signal(); sig {
		case unix.SIGSEGV, unix.SIGABRT, unix.SIGBUS, unix.SIGILL, unix.SIGFPE, unix.SIGSYS:
			return unix.SignalName(sig)
		case unix.SIGKILL:
			if starved {
				return "out of memory"
			}
		}
	case state.ExitCode() == runtimeFault:
		return "a panic or fatal error of its own"
	}
	return ""
}

// starvation counts the processes that the kernel killed for want of memory: in
// master's own group of processes where that is told, else on the whole machine.
type starvation struct {
	last int64
	at   time.Time // when it was seen to have risen
}

// lately says whether there was one since it was asked before, or a moment ago.
func (s *starvation) lately() bool {
	n, now := oomKills(), time.Now()
	if n > s.last {
		s.at = now
	}
	s.last = n
	return now.Sub(s.at) < time.Second
}

func oomKills() int64 {
	if b, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		for line := range strings.Lines(string(b)) {
			if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
				if n, ok := counter(filepath.Join("/sys/fs/cgroup", path, "memory.events"), "oom_kill "); ok {
					return n
				}
			}
		}
	}
	n, _ := counter("/proc/vmstat", "oom_kill ")
	return n
}

// counter reads a line "NAME N" of a file of the kernel's.
func counter(file, name string) (int64, bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// Deaths by its own fault, while it served, throttle a program only when there are
// many of them: each is about one message, and the mail of all others waits for the
// next process.
const (
	faultsMax    = 20 // in faultsTime without a pause
	faultsTime   = time.Minute
	faultsThrust = time.Second // the pause beyond
)

// afterFault is the pause before the next start after such a death.
func (s *slot) afterFault(now time.Time) time.Duration {
	s.faults = slices.DeleteFunc(s.faults, func(t time.Time) bool { return now.Sub(t) > faultsTime })
	s.faults = append(s.faults, now)
	if len(s.faults) > faultsMax {
		return faultsThrust
	}
	return 0
}

// mourn tells the partners of x how its process ended, before they are given the
// next one's.
func (s *supervisor) mourn(x *slot, pid int, fault string) {
	for _, y := range s.slots {
		if y != x && y.child != nil && meet(x.instance, y.instance) {
			y.child.send(proto.TypeDied, &proto.Died{Partner: x.label(), PID: uint64(pid), Fault: fault}, -1)
		}
	}
}

// aloneNumber is the number of a process that tries suspects: far from the others',
// for the numbers in brackets of the log come from it.
const aloneNumber = 9000

// alone is qmgr's wish for a process that tries suspects.
type alone struct{ proto.Alone }

func (a *alone) Error() string { return "wants " + a.Program + proto.AloneSuffix }

// setAlone starts the process in which suspects are tried, or ends it. It is not
// started again when it dies: qmgr asks when it has more.
func (s *supervisor) setAlone(from *child, a proto.Alone) {
	if from.name != "qmgr" || s.stopping {
		return
	}
	x := s.find(a.Program + proto.AloneSuffix)
	switch {
	case !a.Want && x != nil:
		x.wanted = false
		if x.child != nil {
			s.leave(x.child)
		}
		s.sweep()
	case a.Want && x != nil:
		x.wanted = true // once more, when the last one has gone
	case a.Want:
		i := slices.IndexFunc(programs, func(p program) bool { return p.name == a.Program && talk(p.name, "qmgr") })
		if i < 0 || a.Program == "cleanup" {
			s.log.Warnf("qmgr wants a process %q, which there is not", a.Program)
			return
		}
		x = &slot{instance: instance{program: &programs[i], number: aloneNumber, of: 1, alone: true}, wanted: true}
		s.slots = append(s.slots, x)
		s.start(x)
	}
}

// giveSuspects grants what package suspect needs to those who read what others
// wrote: memory for notes, which belongs to the place, and a file of strikes.
func (s *supervisor) giveSuspects(x *slot) {
	if !x.notes {
		return
	}
	if x.memory == nil {
		var err error
		if x.memory, err = suspect.NewMemory("notes of " + x.label()); err != nil {
			s.log.Warnf("%v; after a crash of %s nobody will know what it was reading", err, x.label())
		}
	}
	if x.memory != nil {
		s.give(x.child, proto.GrantNotes, x.label(), x.memory)
	}
	name := filepath.Join(s.plan.config.String("data_directory"), "suspects."+x.label())
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0600)
	if err != nil {
		s.log.Warnf("%v; what %s counts against suspects is not kept", err, x.label())
		return
	}
	defer f.Close()
	s.give(x.child, proto.GrantStrikes, x.label(), f)
}

// describe is the fault for a log line.
func describe(fault string) string {
	if fault == "" {
		return ""
	}
	return fmt.Sprintf(" (its own fault: %s; what it had in hand is suspect)", fault)
}
