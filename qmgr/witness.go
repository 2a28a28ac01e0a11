package qmgr

import (
	"time"

	"postrider/lib/disk"
	"postrider/lib/spool"
)

// seen is what data_directory knows of the spool: how far it had come. By that a spool
// from yesterday, which a backup brought back, is told from today's.
type seen struct {
	file    *spool.WitnessFile
	may     bool // what an earlier time left has been tailed, and is on hold if need be
	last    spool.Witness
	next    time.Time // when it is written next; zero while nothing has changed
	writing bool
	done    chan struct{}
	failed  bool // the last one, of which the log has heard
}

// openSeen opens the file in data_directory and returns what it says. Without it a spool
// from before is taken for what it seems to be.
func openSeen(dir string, warnf func(string, ...any)) (seen, *spool.Witness) {
	f, w, err := spool.OpenWitness(disk.OS(dir))
	if err != nil {
		warnf("%v: nobody would notice that the queue is a copy from yesterday", err)
		return seen{}, nil
	}
	return seen{file: f}, w
}

// maySee begins to write down how far the spool is, once it is certain of all that an
// earlier time left in it.
func (m *manager) maySee() {
	m.spool.Sync(func(err error) {
		if s := &m.seen; err == nil && !s.may {
			s.may, s.next = true, time.Now()
		}
	})
}

// see has it written down when it has changed, not before noteEvery has passed.
func (m *manager) see() {
	s := &m.seen
	if s.file == nil || !s.may || s.writing {
		return
	}
	w, ok := m.spool.Witness()
	switch {
	case !ok || w == s.last:
	case s.next.IsZero():
		s.next = time.Now().Add(noteEvery)
	case !time.Now().Before(s.next):
		s.next, s.writing, s.done = time.Time{}, true, make(chan struct{})
		done := s.done
		go func() { // the owner never waits for a disk
			err := s.file.Write(w)
			close(done)
			m.post(func() { m.saw(w, err) })
		}()
	}
}

// saw takes the end of a writing. One that failed is tried again.
func (m *manager) saw(w spool.Witness, err error) {
	s := &m.seen
	s.writing = false
	if err == nil {
		s.last, s.failed = w, false
		return
	}
	s.next = time.Now().Add(noteEvery)
	if !s.failed {
		s.failed = true
		m.log.Warnf("how far the queue is could not be written down: %v", err)
	}
}

// sawLast writes it down at the end, when the spool is closed.
func (m *manager) sawLast() {
	s := &m.seen
	if s.file == nil {
		return
	}
	if s.writing {
		<-s.done
	}
	if w, ok := m.spool.Witness(); ok && s.may {
		if err := s.file.Write(w); err != nil {
			m.log.Warnf("how far the queue is could not be written down: %v", err)
		}
	}
	s.file.Close()
}
