package maillog

import (
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// Logger writes lines under one tag, such as "postfix/smtpd", and with one
// number in brackets. Safe for concurrent use.
type Logger struct {
	h      hclog.InterceptLogger
	sink   *sink
	tag    string
	number int
}

// Format is how lines are written.
type Format uint8

// The formats.
const (
	Postfix Format = iota // maillog_format = postfix
	JSON                  // maillog_format = json: one object a line
)

// Kind is what the log is, in the words of a GrantLog's name.
type Kind string

// The kinds.
const (
	File   Kind = "file"   // a file opened with O_APPEND
	Stdout Kind = "stdout" // whatever stands behind /dev/stdout
	Syslog Kind = "syslog" // a connected Unix datagram socket (/dev/log)
)

// OpenFile opens a log by its name, with further flags of open(2). Who opens a FIFO that
// nobody reads gets an error instead of waiting.
func OpenFile(name string, flags int) (*os.File, Kind, error) {
	f, err := os.OpenFile(name, flags|os.O_WRONLY|os.O_APPEND|unix.O_NOCTTY|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, "", err
	}
	if st, err := f.Stat(); err == nil && !st.Mode().IsRegular() {
		return f, Stdout, nil
	}
	unix.SetNonblock(int(f.Fd()), false)
	return f, File, nil
}

// Options of a log. The zero value serves.
type Options struct {
	Format     Format
	Host       string // the machine's name in each line; "" asks the machine
	Facility   int    // of syslog, 0 to 23; 0 means mail (2)
	Resolution int    // delay_logging_resolution_limit: decimals, 0 to 6; negative means none and 0 means 2
	Buffer     int    // bytes that may wait to be written; 0 means 1 MiB
}

// New makes a log with no output yet: lines wait in the buffer until Open.
func New(tag string, o Options) *Logger {
	s := newSink(tag, o)
	h := hclog.NewInterceptLogger(&hclog.LoggerOptions{
		Level: hclog.Off, Output: io.Discard, // the sink alone renders
		DisableTime: true,
	})
	h.RegisterSink(s)
	return &Logger{h.ResetNamedIntercept(tag), s, tag, os.Getpid()}
}

// Open sends what was logged and is going to be logged to f, in place of what
// went before, which is closed. The Logger takes f over.
func (l *Logger) Open(f *os.File, kind Kind) { l.sink.ring.open(f, kind) }

// Set changes how lines look from now on: host, format, facility and resolution.
func (l *Logger) Set(o Options) { l.sink.set(o) }

// Close writes what is waiting, as far as that takes no longer than a second,
// and ends the log for every Logger made of this one.
func (l *Logger) Close() { l.sink.ring.close() }

// Flush waits until what was logged before is written, or until a second has
// passed.
func (l *Logger) Flush() { l.sink.ring.flush() }

// Join has the lines keep an order with those of other processes, from now on.
func (l *Logger) Join(o *Order) { l.sink.ring.join(o) }

// Named returns a Logger with another tag: "postfix/submission/smtpd".
func (l *Logger) Named(tag string) *Logger {
	return &Logger{l.h.ResetNamedIntercept(tag), l.sink, tag, l.number}
}

// Session returns a Logger that writes n in brackets instead of the process id:
// the number of a session or delivery slot, by which analysers pair lines.
func (l *Logger) Session(n int) *Logger { return &Logger{l.h, l.sink, l.tag, n} }

// Hclog returns the hclog face of the log, for libraries that want one. Its
// key and value pairs are written behind the message as "key=value".
func (l *Logger) Hclog() hclog.Logger { return l.h }

// Event logs an event. There are five of them a message, so they go straight to the
// sink at the end of hclog; what the logger in between does with arguments costs more
// than the line. e is not kept: whoever logs many passes a pointer to one he fills anew.
func (l *Logger) Event(e Event) { l.sink.event(l.tag, l.number, e) }

// Infof logs a line that belongs to no message.
func (l *Logger) Infof(format string, args ...any) { l.line(hclog.Info, format, args) }

// Warnf logs a line that starts with "warning: ".
func (l *Logger) Warnf(format string, args ...any) { l.line(hclog.Warn, format, args) }

// Errorf logs a line that starts with "error: ".
func (l *Logger) Errorf(format string, args ...any) { l.line(hclog.Error, format, args) }

// Fatalf logs a line that starts with "fatal: ". It does not end the program.
func (l *Logger) Fatalf(format string, args ...any) { l.line(fatal, format, args) }

// Panicf logs a line that starts with "panic: ". It does not end the program.
func (l *Logger) Panicf(format string, args ...any) { l.line(panicked, format, args) }

func (l *Logger) line(level hclog.Level, format string, args []any) {
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	l.h.Log(hclog.Info, text, levelKey, level, numberKey, l.number)
}

// hclog has no level above Error but Off; ours travel as an argument.
const (
	fatal    hclog.Level = 101
	panicked hclog.Level = 102
)

// The keys by which the sink knows our own arguments.
const (
	levelKey  = "level"
	numberKey = "number"
)
