package local

import (
	"os"
	"syscall"
	"time"

	"postrider/lib/config"
	"postrider/lib/table"
)

// A changed table comes a moment after it was written. A name that nobody has is not
// bounced for that: where a file has just changed, the newer tables are awaited.
const (
	renewTime = 5 * time.Second  // for which they are awaited
	renewLate = 5 * time.Second  // by which a site may be younger than a text that it has not
	renewOld  = 15 * time.Second // after which a change has come or never will
)

// sources are the files that say which names there are.
func sources(c *config.Config, root bool) []string {
	paths := table.Files(append(c.List("alias_maps"), c.List("local_recipient_maps")...))
	if root {
		paths = append(paths, "/etc/passwd")
	}
	return paths
}

// outdated says whether one of the files has changed just now, and maybe since the site
// was made.
func (s *site) outdated(now time.Time) bool {
	for _, path := range s.sources {
		st, err := os.Stat(path)
		if err != nil {
			continue
		}
		changed := st.ModTime()
		if sys, ok := st.Sys().(*syscall.Stat_t); ok { // of a file that was moved there, too
			if t := time.Unix(sys.Ctim.Unix()); t.After(changed) {
				changed = t
			}
		}
		if changed.After(s.made.Add(-renewLate)) && now.Sub(changed) < renewOld {
			return true
		}
	}
	return false
}

// renewed waits for newer tables where there may be some, once for each delivery, and
// takes them.
func (d *delivery) renewed() bool {
	if d.waited {
		return false
	}
	d.waited = true
	newer := func() bool {
		s := d.deliverer.site.Load()
		if s == d.site {
			return false
		}
		d.site = s
		return true
	}
	if newer() {
		return true
	}
	if !d.site.outdated(time.Now()) {
		return false
	}
	for end := time.Now().Add(renewTime); d.ctx.Err() == nil && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if newer() {
			return true
		}
	}
	return false
}
