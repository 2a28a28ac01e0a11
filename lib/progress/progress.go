// Package progress shows a person at a terminal that a long operation goes on: one line,
// written over and over, and taken away at the end. In a pipe or a log it is silent. It
// imports nothing of this module and touches the clock and the writer it is given.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Delay is how long an operation may take before anything is shown, and the time between
// two lines. Tests have less.
var Delay = time.Second

// Line is the line of one operation. A nil Line shows nothing.
type Line struct {
	n    atomic.Uint64
	w    io.Writer
	once sync.Once
	stop chan struct{}
	done chan struct{}

	mu    sync.Mutex
	shown bool
}

// Start shows, where w is a terminal, what is done, how many things were counted, and how
// long it has taken. Stop ends it before anything else is written to w.
func Start(w io.Writer, what string) *Line {
	if !Terminal(w) {
		return nil
	}
	l := &Line{w: w, stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		begin, tick := time.Now(), time.NewTicker(Delay)
		defer tick.Stop()
		for {
			select {
			case <-l.stop:
				l.Above(func() {})
				return
			case <-tick.C:
			}
			count := ""
			if n := l.n.Load(); n > 0 {
				count = fmt.Sprintf(" %d,", n)
			}
			l.mu.Lock()
			fmt.Fprintf(w, "\r\x1b[K%s:%s %d s", what, count, int(time.Since(begin).Seconds()))
			l.shown = true
			l.mu.Unlock()
		}
	}()
	return l
}

// Add counts one more.
func (l *Line) Add() {
	if l != nil {
		l.n.Add(1)
	}
}

// Above takes the line away for as long as f writes to the same terminal.
func (l *Line) Above(f func()) {
	if l == nil {
		f()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shown {
		io.WriteString(l.w, "\r\x1b[K")
		l.shown = false
	}
	f()
}

// Stop takes the line away. It may be called again.
func (l *Line) Stop() {
	if l != nil {
		l.once.Do(func() { close(l.stop) })
		<-l.done
	}
}

// Terminal says whether w is a terminal.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
