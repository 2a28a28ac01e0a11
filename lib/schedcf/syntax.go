package schedcf

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// diagnose takes over what HCL found, of each line of the file the first: what follows a
// slip of the pen says nothing more.
func (r *reader) diagnose(ds hcl.Diagnostics) {
	said := map[int]bool{} // by line
	for _, d := range ds {
		at := hcl.Range{}
		if d.Subject != nil {
			at = *d.Subject
		}
		if said[at.Start.Line] && at.Start.Line > 0 {
			continue
		}
		said[at.Start.Line] = true
		if d.Summary == "Invalid multi-line string" {
			r.problem(at, false, "a text has no end on its line: a quote is missing")
			return // whatever follows is out of step
		}
		text := r.meant(at)
		if text == "" {
			text = fmt.Sprintf("%s: %s", strings.ToLower(d.Summary), strings.ReplaceAll(d.Detail, "\n", " "))
		}
		r.problem(at, d.Severity == hcl.DiagWarning, "%s", text)
	}
}

// meant says what was probably meant where the syntax ends; "" when it is nothing usual.
func (r *reader) meant(at hcl.Range) string {
	if at.Start.Byte >= len(r.src) {
		return ""
	}
	before, rest := string(r.src[:at.Start.Byte]), string(r.src[at.Start.Byte:])
	line := before[strings.LastIndexByte(before, '\n')+1:]
	word := rest[:max(len(rest)-len(strings.TrimLeft(rest, letters)), 0)]
	switch {
	case strings.HasPrefix(rest, "=") && strings.Contains(line, "=") && !strings.HasPrefix(rest, "=="):
		return "to compare, write =="
	case word == "and", word == "AND":
		return "write && for and"
	case word == "or", word == "OR":
		return "write || for or"
	case strings.HasPrefix(strings.TrimSpace(word), "not"):
		return "write ! for not"
	case rest[0] == '\'':
		return "texts stand in double quotes: \"...\""
	case word != "" && line != "" && strings.IndexByte(digits, line[len(line)-1]) >= 0:
		start := strings.LastIndexAny(line, " \t=<>(,[") + 1
		return fmt.Sprintf("a number with a unit stands in quotes: %q", line[start:]+word)
	case strings.IndexByte("@/\\$;", rest[0]) >= 0, rest[0] == '.', rest[0] == ':':
		start := strings.LastIndexAny(line, " \t=<>(,[!") + 1
		end := strings.IndexAny(rest, " \t\n),]")
		if end < 0 {
			end = len(rest)
		}
		return fmt.Sprintf("texts stand in quotes: %q", line[start:]+rest[:end])
	case rest[0] == ',' && strings.Contains(line, "{") && !strings.Contains(line, "["):
		return "one argument stands in a line: write the block in several lines, without commas"
	}
	return ""
}

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)
