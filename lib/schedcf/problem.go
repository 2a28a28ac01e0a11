package schedcf

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Problem is one finding about a sched.cf.
type Problem struct {
	File         string
	Line, Column int // 0: the file as a whole
	Warning      bool
	Text         string // what is wrong and what to do
}

// String gives the problem as one line: "FILE:LINE:COLUMN: text".
func (p Problem) String() string {
	text := p.Text
	if p.Warning {
		text = "warning: " + text
	}
	if p.Line == 0 {
		return p.File + ": " + text
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, text)
}

// Problems are all findings, in the order of the file.
type Problems []Problem

// ErrSchedCF is the kind of every error about a wrong sched.cf.
var ErrSchedCF = errors.New("bad sched.cf")

// Err returns the problems that are no warnings as one error of kind ErrSchedCF, a line
// each, or nil.
func (ps Problems) Err() error {
	var lines []string
	for _, p := range ps {
		if !p.Warning {
			lines = append(lines, p.String())
		}
	}
	if lines == nil {
		return nil
	}
	return &readError{strings.Join(lines, "\n")}
}

type readError struct{ text string }

func (e *readError) Error() string        { return e.text }
func (e *readError) Is(target error) bool { return target == ErrSchedCF }

// sorted returns the problems in the order of the file.
func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return ps
}

func (r *reader) problem(at hcl.Range, warning bool, format string, args ...any) {
	r.problems = append(r.problems, Problem{r.name, at.Start.Line, at.Start.Column, warning, fmt.Sprintf(format, args...)})
}

func (r *reader) errorf(at hcl.Range, format string, args ...any) {
	r.problem(at, false, format, args...)
}
func (r *reader) warnf(at hcl.Range, format string, args ...any) {
	r.problem(at, true, format, args...)
}

// suggest returns "; did you mean X?" with the name that is nearest to a wrong one, or
// says which there are.
func suggest(name string, known []string) string {
	best, at := "", 4
	for _, k := range known {
		d := distance(strings.ToLower(name), strings.ToLower(k))
		if strings.HasPrefix(k, name) || strings.HasPrefix(name, k) {
			d = min(d, 2)
		}
		if d < at && d < max(len(name), 2) {
			best, at = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	if len(known) == 0 {
		return "; none is declared"
	}
	known = slices.Clone(known)
	slices.Sort(known)
	if len(known) > 12 {
		known = append(known[:12], "...")
	}
	return "; there are " + strings.Join(known, ", ")
}

// distance is how many letters have to be changed, added, taken out or swapped with
// their neighbour.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
