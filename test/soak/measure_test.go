package soak

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"postrider/test/world"
)

// usage is what a process has at rest.
type usage struct {
	pid         int
	heap        int64 // bytes in use after a collection
	resident    int64 // bytes
	descriptors int
	threads     int64
	goroutines  int64
}

func (u usage) String() string {
	return fmt.Sprintf("heap %d KiB, resident %d KiB, %d descriptors, %d threads, %d goroutines",
		u.heap>>10, u.resident>>10, u.descriptors, u.threads, u.goroutines)
}

// daemons by their names for master profile.
var daemons = []string{"cleanup", "qmgr", "smtpd.0", "smtp", "local", "bounce"}

// rest is everything at one moment at which no mail is under way.
type rest struct {
	processes map[string]usage
	files     map[string]int // of the queue directory, by folder
}

// measure looks at every process and at the queue directory.
func measure(w *world.World) rest {
	r := rest{processes: map[string]usage{}, files: map[string]int{}}
	for _, d := range daemons {
		program, _, _ := strings.Cut(d, ".")
		u := usage{pid: w.PID(program)}
		w.Run("master", "profile", d, "heap", "0") // collects what is not in use
		for line := range strings.Lines(w.Run("master", "profile", d, "stats").Stdout) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			n, _ := strconv.ParseInt(value, 10, 64)
			switch name {
			case "heap_bytes":
				u.heap = n
			case "goroutines":
				u.goroutines = n
			}
		}
		u.look()
		r.processes[d] = u
	}
	u := usage{pid: w.PID("master")}
	u.look()
	r.processes["master"] = u
	for name := range w.Files(".") {
		r.files[filepath.Dir(name)]++
	}
	return r
}

// look asks the kernel.
func (u *usage) look() {
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", u.pid))
	u.descriptors = len(fds)
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", u.pid))
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			u.resident = n << 10
		case "Threads:":
			u.threads = n
		}
	}
}

// What may come and go at rest: a spare file, a timer's goroutine, an idle session for
// each delivery at once with each of the three far ends, memory that is cached. An agent keeps a goroutine for each
// delivery that was ever under way at once (lib/agent), and the runtime keeps the thread
// of each helper that was waited for at once: both know of world.InHand at most, which a
// crowded moment may reach for the first time in any round.
const (
	someDescriptors = 3*world.InHand + 4
	someGoroutines  = world.InHand + 4
	someThreads     = world.InHand + 4
	someFiles       = 8
	someHeap        = 3 << 20
	someResident    = 12 << 20
)

// mostGoroutines is what no process has at rest: a worker for each delivery that may be
// under way at once, and twice as many for all else.
const mostGoroutines = 3 * world.InHand

// crowded says which processes have more.
func (r rest) crowded() (found []string) {
	for _, d := range slices.Sorted(maps.Keys(r.processes)) {
		if u := r.processes[d]; u.goroutines > mostGoroutines {
			found = append(found, fmt.Sprintf("%s has more than %d goroutines: %v", d, mostGoroutines, u))
		}
	}
	return found
}

// growth says what a later moment has more than an earlier one, beyond what comes and
// goes. Processes that are not the same are not compared.
func growth(early, late rest) (found []string) {
	for _, d := range slices.Sorted(maps.Keys(early.processes)) {
		a, b := early.processes[d], late.processes[d]
		if a.pid != b.pid {
			continue
		}
		if b.heap > a.heap+a.heap/5+someHeap || b.resident > a.resident+a.resident/5+someResident || b.descriptors > a.descriptors+someDescriptors ||
			b.goroutines > a.goroutines+someGoroutines || b.threads > a.threads+someThreads {
			found = append(found, fmt.Sprintf("%s grew from %v to %v", d, a, b))
		}
	}
	for dir, n := range late.files {
		if n > early.files[dir]+someFiles {
			found = append(found, fmt.Sprintf("%s/ grew from %d to %d files", dir, early.files[dir], n))
		}
	}
	return found
}
