package maillog

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// stampLayout is the date in Postfix's own log files.
const stampLayout = "Jan 02 15:04:05 "

// sink is the adapter at the end of hclog: it renders each event into a line
// and gives the line to the ring.
type sink struct {
	ring *ring
	tag  string // of lines of its own
	pid  int
	host string // first label
	now  func() time.Time

	mu       sync.Mutex
	format   Format
	facility int
	line     line
	second   int64  // of stamp
	stamp    []byte // "Mar 04 10:11:12"
}

func newSink(tag string, o Options) *sink {
	if o.Buffer <= 0 {
		o.Buffer = 1 << 20
	}
	s := &sink{tag: tag, pid: os.Getpid(), now: time.Now, second: -1}
	s.ring = newRing(o.Buffer, s.dropped)
	s.set(o)
	s.stamp = time.Now().AppendFormat(nil, stampLayout) // reads the time zone's file while that is allowed
	return s
}

func (s *sink) set(o Options) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.Host == "" {
		o.Host, _ = os.Hostname()
	}
	if s.host, _, _ = strings.Cut(o.Host, "."); s.host == "" {
		s.host = "localhost"
	}
	s.format, s.facility = o.Format, o.Facility
	if s.facility <= 0 || s.facility > 23 {
		s.facility = 2
	}
	switch s.line.resolution = o.Resolution; {
	case o.Resolution == 0:
		s.line.resolution = 2
	case o.Resolution < 0:
		s.line.resolution = 0
	case o.Resolution > 6:
		s.line.resolution = 6
	}
}

// Accept implements hclog.SinkAdapter.
func (s *sink) Accept(tag string, level hclog.Level, msg string, args ...any) {
	var (
		number = 0
		extra  []any
	)
	for i := 0; i+1 < len(args); i += 2 {
		switch args[i] {
		case levelKey:
			if l, ok := args[i+1].(hclog.Level); ok {
				level = l
				continue
			}
		case numberKey:
			if n, ok := args[i+1].(int); ok {
				number = n
				continue
			}
		}
		extra = append(extra, args[i], args[i+1])
	}
	if number == 0 {
		number = s.pid
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring.put(s.render(tag, level, number, msg, nil, extra), false)
}

// event takes an event, past hclog.
func (s *sink) event(tag string, number int, e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := false
	switch e.(type) {
	case Removed, *Removed:
		last = true
	}
	s.ring.put(s.render(tag, hclog.Info, number, "", e, nil), last)
}

// dropped makes the line that tells of lost ones. The ring calls it.
func (s *sink) dropped(n uint64) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprintf("%d lines of the log were lost while it could not be written", n)
	return append([]byte(nil), s.render(s.tag, hclog.Warn, s.pid, text, nil, nil)...)
}

// render makes a line in s.line, valid until the next call.
func (s *sink) render(tag string, level hclog.Level, number int, msg string, event Event, extra []any) []byte {
	now := s.now()
	l := &s.line
	l.b = l.b[:0]
	syslog := s.ring.syslog()
	if syslog {
		l.str("<")
		l.int(int64(s.facility*8 + severity(level)))
		l.str(">")
	}
	if s.format == JSON && !syslog {
		s.object(now, tag, level, number, msg, event, extra)
		return append(l.b, '\n')
	}
	if sec := now.Unix(); sec != s.second {
		s.second = sec
		s.stamp = now.AppendFormat(s.stamp[:0], stampLayout)
	}
	l.b = append(l.b, s.stamp...)
	if syslog {
		// RFC 3164 pads the day with a blank; the host is the daemon's to add.
		if d := l.b[len(l.b)-12:]; d[0] == '0' {
			d[0] = ' '
		}
	} else {
		l.str(s.host)
		l.str(" ")
	}
	l.str(tag)
	l.str("[")
	l.int(int64(number))
	l.str("]: ")
	if s.format == JSON {
		s.object(now, tag, level, number, msg, event, extra)
		return append(l.b, '\n')
	}
	from := len(l.b)
	l.str(prefix(level))
	if event != nil {
		event.text(l)
	} else {
		l.peer(msg)
		for i := 0; i+1 < len(extra); i += 2 {
			l.str(" ")
			l.peer(fmt.Sprint(extra[i]))
			l.str("=")
			l.peer(fmt.Sprint(extra[i+1]))
		}
	}
	l.b = clip(l.b, from, maxText)
	return append(l.b, '\n')
}

func (s *sink) object(now time.Time, tag string, level hclog.Level, number int, msg string, event Event, extra []any) {
	o := object{append(s.line.b, '{')}
	o.key("time")
	o.b = append(o.b, '"')
	o.b = now.AppendFormat(o.b, "2006-01-02T15:04:05.000000Z07:00")
	o.b = append(o.b, '"')
	o.str("host", s.host)
	o.str("tag", tag)
	o.int("pid", int64(s.pid))
	if number != s.pid {
		o.int("session", int64(number))
	}
	if _, ok := event.(Warning); ok {
		level = hclog.Warn
	}
	o.str("level", strings.TrimSuffix(prefixOr(level, "info: "), ": "))
	if event != nil {
		event.json(&o)
	} else {
		o.str("text", msg)
	}
	for i := 0; i+1 < len(extra); i += 2 {
		o.b = append(o.b, ',')
		o.b = appendQuoted(o.b, fmt.Sprint(extra[i]))
		o.b = append(o.b, ':')
		o.b = appendQuoted(o.b, fmt.Sprint(extra[i+1]))
	}
	s.line.b = append(o.b, '}')
}

// prefix is what Postfix writes before a line of this level.
func prefix(level hclog.Level) string { return prefixOr(level, "") }

func prefixOr(level hclog.Level, info string) string {
	switch level {
	case hclog.Warn:
		return "warning: "
	case hclog.Error:
		return "error: "
	case fatal:
		return "fatal: "
	case panicked:
		return "panic: "
	}
	return info
}

// severity is the level in syslog's numbers, as Postfix chooses them.
func severity(level hclog.Level) int {
	switch level {
	case hclog.Warn:
		return 4
	case hclog.Error:
		return 3
	case fatal, panicked:
		return 2
	case hclog.Debug, hclog.Trace:
		return 7
	}
	return 6
}
