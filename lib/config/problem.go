package config

import (
	"errors"
	"fmt"
	"strings"
)

// Severity says what a Problem means for a start or a reload.
type Severity uint8

// The severities of a problem.
const (
	Fatal    Severity = iota // no start and no reload with this
	Warning                  // accepted, but not what the operator meant
	Unused                   // a parameter that nothing reads
	NoEffect                 // a parameter of Postfix whose effect is not missed (WithoutEffect)
	Missing                  // a parameter of Postfix that is not supported (Unsupported)
)

// Problem is one finding about main.cf or master.cf.
type Problem struct {
	Severity Severity
	File     string
	Line     int // 0: the file as a whole
	Text     string
}

// String gives the problem as one line: "FILE, line N: text".
func (p Problem) String() string {
	switch {
	case p.File == "":
		return p.Text
	case p.Line == 0:
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s, line %d: %s", p.File, p.Line, p.Text)
}

// Problems are all findings of one Load, in the order of the files.
type Problems []Problem

// ErrConfig is the kind of every error about a wrong configuration.
var ErrConfig = errors.New("bad configuration")

// Err returns the fatal problems as one error of kind ErrConfig, a line each,
// or nil when there is none.
func (ps Problems) Err() error {
	var lines []string
	for _, p := range ps {
		if p.Severity == Fatal {
			lines = append(lines, p.String())
		}
	}
	if lines == nil {
		return nil
	}
	return &configError{strings.Join(lines, "\n")}
}

// Warnings returns what is not fatal.
func (ps Problems) Warnings() Problems {
	var w Problems
	for _, p := range ps {
		if p.Severity != Fatal {
			w = append(w, p)
		}
	}
	return w
}

type configError struct{ text string }

func (e *configError) Error() string        { return e.text }
func (e *configError) Is(target error) bool { return target == ErrConfig }

func errf(format string, args ...any) error {
	return &configError{fmt.Sprintf(format, args...)}
}
