package durable

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// call is one system call of a trace: the numbers of the lines in which it began and
// ended. strace writes both down while it holds the thread, so a call that was caused by
// the end of another begins in a later line.
type call struct {
	name       string
	path       string // of its file descriptor
	text       string // the arguments behind that
	begin, end int
	ok         bool
}

var (
	started = regexp.MustCompile(`^\d+ +(\w+)\(\d+<([^>]*)>(.*)$`)
	resumed = regexp.MustCompile(`^\d+ +<\.\.\. (\w+) resumed>(.*)$`)
)

// calls reads what strace -f -y wrote. A call that did not end is left out.
func calls(trace string) (all []call) {
	open := map[string]call{} // by thread
	n := 0
	for l := range strings.Lines(trace) {
		n++
		l = strings.TrimSuffix(l, "\n")
		thread, _, _ := strings.Cut(l, " ")
		if m := started.FindStringSubmatch(l); m != nil {
			c := call{name: m[1], path: m[2], text: m[3], begin: n, end: n}
			if text, unfinished := strings.CutSuffix(c.text, "<unfinished ...>"); unfinished {
				c.text = text
				open[thread] = c
				continue
			}
			c.ok = !strings.Contains(c.text[strings.LastIndex(c.text, ")")+1:], "= -1 ")
			all = append(all, c)
		} else if m := resumed.FindStringSubmatch(l); m != nil {
			c, ok := open[thread]
			if !ok || c.name != m[1] {
				continue
			}
			delete(open, thread)
			c.end = n
			c.ok = !strings.Contains(m[2], "= -1 ")
			all = append(all, c)
		}
	}
	return all
}

// sync says whether the call makes its file durable.
func (c call) sync() bool { return c.name == "fdatasync" || c.name == "fsync" }

var queued = regexp.MustCompile(`"250 [^"]*queued as (\w+)`)

// judge checks that each positive reply to a message began after everything that was
// written of that message, into the journal below incoming or a file of its own below
// content, was synced without an error. It returns how many replies there were.
func judge(all []call) (replies int, err error) {
	all = slices.DeleteFunc(all, func(c call) bool { // files written in advance
		return strings.HasPrefix(c.text, `, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0`)
	})
	for _, r := range all {
		m := queued.FindStringSubmatch(r.text)
		if m == nil || !strings.Contains(r.path, "socket") {
			continue
		}
		replies++
		id := m[1]
		inJournal := false
		for _, w := range all {
			own := strings.Contains(w.path, "/content/")
			journal := strings.Contains(w.path, "/incoming/") && strings.Contains(w.text, id)
			if w.name != "pwrite64" && w.name != "write" || !own && !journal || w.begin > r.begin {
				continue
			}
			inJournal = inJournal || journal
			if own && !last(all, w, r) {
				continue // of a message whose reply comes later
			}
			if !w.ok || w.end > r.begin || !syncedBetween(all, w, r) {
				return replies, fmt.Errorf("%s: 250 (line %d) before %s is synced (written in line %d)", id, r.begin, w.path, w.begin)
			}
		}
		if !inJournal {
			return replies, fmt.Errorf("%s: 250 (line %d) and nothing in the journal", id, r.begin)
		}
	}
	return replies, nil
}

// last says whether the content file of w belongs to a reply no later than r: the record
// that names it was written before r. Contents are sent one at a time here.
func last(all []call, w, r call) bool {
	for _, j := range all {
		if j.name == "pwrite64" && strings.Contains(j.path, "/incoming/") && j.begin > w.end && j.end < r.begin {
			return true
		}
	}
	return false
}

func syncedBetween(all []call, w, r call) bool {
	for _, s := range all {
		if s.sync() && s.ok && s.path == w.path && s.begin > w.end && s.end < r.begin {
			return true
		}
	}
	return false
}
