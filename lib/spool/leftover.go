package spool

import (
	"errors"
	"io"
	"time"

	"postrider/lib/mail"
	"postrider/lib/slot"
)

// leftoverAge is how much older than the living cleanup a file in content/ has to
// be, by its name and by its modification time, before it may be taken for one
// that a dead cleanup left: a step of the wall clock must not cost a message.
const leftoverAge = time.Hour

var errNotWhole = errors.New("a part of the queue is damaged")

// leftoverStep removes, once after a cleanup said hello and the journal of those
// before it is tailed to its end, the files in content/ of dead cleanups that no
// unfinished message names.
func (q *Queue) leftoverStep() {
	t := &q.tail
	if t.first == 0 || t.first == t.cleared || q.space.orphans || q.space.search != nil || len(t.old) > 0 || t.scan != nil && t.again {
		return
	}
	for n := range t.names {
		if c := q.contents[n]; n < t.first && (c == nil || !c.passed) && !q.wasFreed(n) {
			return
		}
	}
	first := t.first
	t.cleared = first
	name := t.names[first]
	q.bg.do(func() {
		names, err := q.oldLarge(name, first)
		q.post(func() {
			if err != nil {
				q.o.Logf("warning: %s/ is not looked through: %v", dirContent, err)
			} else if len(names) > 0 && !q.dead && q.tail.first == first {
				q.dropLeftovers(names)
			}
		})
	})
}

// oldLarge lists the files in content/ that are older than the journal file that
// the living cleanup began with.
func (q *Queue) oldLarge(name string, first uint64) (map[string]bool, error) {
	es, err := q.fs.ReadDir(dirContent)
	if err != nil || len(es) == 0 {
		return nil, err
	}
	f, h, err := openSlotFile(q.fs, dirIncoming+"/"+name, slot.Content, first)
	if err != nil {
		return nil, err
	}
	f.Close()
	before := time.UnixMicro(h.Created).Add(-leftoverAge)
	names := make(map[string]bool)
	for _, e := range es {
		given, ok := mail.QueueID(e.Name()).Time()
		if !ok || !given.Before(before) || !e.Type().IsRegular() {
			continue
		}
		if i, err := e.Info(); err == nil && i.ModTime().Before(before) {
			names[e.Name()] = true
		}
	}
	return names, nil
}

// dropLeftovers removes those of the files that no unfinished message names.
func (q *Queue) dropLeftovers(names map[string]bool) {
	for _, l := range q.space.large {
		delete(names, l.name) // on its way already
	}
	s := q.Snapshot()
	s.strict = true
	q.bg.do(func() {
		defer s.Close()
		for {
			it, err := s.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				q.post(func() { q.o.Logf("warning: %s/ is not looked through: %v", dirContent, err) })
				return
			}
			delete(names, it.large)
		}
		for name := range names {
			err := q.fs.Remove(dirContent + "/" + name)
			q.post(func() {
				if err == nil {
					q.o.Logf("%s/%s is removed: it was being received when an earlier cleanup ended", dirContent, name)
				} else if !notExist(err) {
					q.o.Logf("warning: %v", err)
				}
			})
		}
	})
}
