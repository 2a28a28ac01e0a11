// Package attempt is what a daemon that was taken over would try. An attempt that
// succeeds changes nothing that lasts. The calls are made as such code would make
// them, without the care of Go's libraries.
package attempt

import (
	"os"
	"slices"
	"strings"
)

// Target is what there is to reach, as the test finds it.
type Target struct {
	Queue   string // queue_directory
	Journal string // a file in incoming/
	Content string // a file in content/
	Drop    string // a file in maildrop/
	Spool   string // a file in log/
	Main    string // main.cf
	Key     string // a file of root's, mode 0600
	Log     string // maillog_file
	Message string // a queue id
	TCP     string // host:port where somebody listens
	UDP     string // host:port where somebody reads
	Local   string // an abstract Unix socket where somebody listens
	// The files of which descriptors are handed over, by number.
	ContentInode, LogInode, LockInode uint64
	// Daemons are the processes of the system by program, master too.
	Daemons map[string][]int
}

// Attempt is one thing to try.
type Attempt struct {
	Group, Name string
	// Try returns what was reached, "" for nothing.
	Try func(*Target) string
}

// All are the attempts in the order of the matrix.
var All = slices.Concat(files, processes, network, queue, descriptors)

// Run tries all and returns what was reached, by name of the attempt.
func Run(t *Target) map[string]string {
	reached := map[string]string{}
	for _, a := range All {
		if r := a.Try(t); r != "" {
			reached[a.Name] = r
		}
	}
	return reached
}

const yes = "yes"

func done(err error) string {
	if err != nil {
		return ""
	}
	return yes
}

// others are the programs with a process, other than this one, that f reaches.
func (t *Target) others(f func(pid int) error) string {
	var names []string
	for name, pids := range t.Daemons {
		for _, pid := range pids {
			if pid != os.Getpid() && f(pid) == nil && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
