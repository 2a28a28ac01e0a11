package sched

import (
	"strings"

	"postrider/lib/mail"
)

// Window says when mail may be tried: at is now, until is when that changes, 0 for never.
// It must answer the same for the same time.
type Window func(at Time) (open bool, until Time)

// window is a Window of the configuration, with its answer while that holds.
type window struct {
	name  string
	at    Window // nil: gone, and always open
	open  bool
	until Time
	known bool
}

// setWindows takes the windows of a new configuration.
func (m *Machine) setWindows() {
	for name, w := range m.windows {
		w.at, w.known = m.cfg.Windows[name], false
	}
	for name, f := range m.cfg.Windows {
		if m.windows[name] == nil {
			m.windows[name] = &window{name: name, at: f}
		}
	}
}

// isOpen says whether w is open now, and until when that holds.
func (w *window) isOpen(now Time) (bool, Time) {
	if w.at == nil {
		return true, 0
	}
	if !w.known || w.until != 0 && now >= w.until {
		w.open, w.until = w.at(now)
		w.known = true
	}
	return w.open, w.until
}

// shut gives back what waits in f, when its window is shut: it does not wait in memory.
func (m *Machine) shut(f *flow) bool {
	open, until := f.terms.window.isOpen(m.now)
	if open {
		return false
	}
	d := f.bin.dest
	for l := range f.lanes {
		for f.lanes[l].todo.first != nil {
			e := f.lanes[l].todo.first.of
			m.drop(e)
			m.out.put(Action{Kind: Postpone, Msg: e.msg.id, Transport: d.trans.name, NextHop: d.nextHop,
				Recipients: e.recipients, Window: f.terms.window.name, Until: until})
			m.end(e)
		}
	}
	m.rest(d)
	return true
}

// forgetWindows has them asked anew: the clock was stepped.
func (m *Machine) forgetWindows() {
	for _, w := range m.windows {
		w.known = false
	}
}

// Shut says whether mail on these terms is to wait for its window, and until when; 0 when
// it never opens. It is told apart from a limit because it may be long.
func (m *Machine) Shut(now Time, t *Terms) (until Time, yes bool) {
	if t == nil || t.Window == "" {
		return 0, false
	}
	w := m.windows[t.Window]
	if w == nil {
		return 0, false
	}
	open, until := w.isOpen(max(m.now, now))
	return until, !open
}

// NotOpen is what is said of mail that waits for a window, without an attempt.
func NotOpen(window string) mail.Status {
	return mail.Status{Class: mail.Deferred, DSN: "4.0.0", Text: notOpen + window + isOpened}
}

// WindowOf returns the window that a text of NotOpen names.
func WindowOf(text string) (string, bool) {
	rest, ok := strings.CutPrefix(text, notOpen)
	name, found := strings.CutSuffix(rest, isOpened)
	return name, ok && found
}

const notOpen, isOpened = "delivery not scheduled before window \"", "\" opens"
