package table

import (
	"fmt"
	"strings"

	"postrider/lib/config"
)

// cutAlias divides a line of aliases(5): "name: target, target", the name perhaps in
// double quotes. The value is the right-hand side as it is written.
func cutAlias(s string) (name, value string, err error) {
	ok := true
	if strings.HasPrefix(s, `"`) {
		if name, value, err = cutKey(s); err != nil {
			return "", "", err
		}
		if value, ok = strings.CutPrefix(strings.TrimLeft(value, " \t"), ":"); !ok {
			return "", "", fmt.Errorf("expected ':' after %q", name)
		}
	} else {
		if name, value, ok = strings.Cut(s, ":"); !ok {
			return "", "", fmt.Errorf("expected format: name: value")
		}
		name = strings.TrimSpace(name)
	}
	if name == "" {
		return "", "", fmt.Errorf("empty name before ':'")
	}
	if strings.Contains(name, "@") {
		return "", "", fmt.Errorf("name must be local: %q", name)
	}
	_, err = ParseTargets(value)
	return name, strings.TrimSpace(value), err
}

// TargetKind says what a target of an alias or a .forward is.
type TargetKind uint8

// The kinds of targets.
const (
	TargetAddress TargetKind = iota // an address, in internal form
	TargetCommand                   // |command
	TargetFile                      // /file, or /directory/ for a Maildir
	TargetInclude                   // :include:/file of more targets
)

// Target is one item on the right-hand side of an alias, in a .forward or in
// an :include: file.
type Target struct {
	Kind TargetKind
	Text string // address, command, or path, without quotes and mark
}

// ParseTargets reads a comma-separated right-hand side. Blanks divide
// addresses too; a command, file or include with blanks or commas stands in
// double quotes (a command may do without until the next comma). An empty list
// is no error.
func ParseTargets(s string) ([]Target, error) {
	var targets []Target
	for {
		rest := strings.TrimLeft(s, ", \t\r\n")
		between := s[:len(s)-len(rest)]
		if s = rest; s == "" {
			return targets, nil
		}
		if s[0] == '<' && targets != nil && !strings.Contains(between, ",") {
			return targets, fmt.Errorf("write the address alone, without a name before it: %q", s)
		}
		text, quoted, n, err := target(s)
		if err != nil {
			return targets, err
		}
		s = s[n:]
		t := Target{Text: text}
		switch {
		case strings.HasPrefix(text, "|"):
			t.Kind, t.Text = TargetCommand, strings.TrimSpace(text[1:])
		case strings.HasPrefix(strings.ToLower(text), ":include:"):
			t.Kind, t.Text = TargetInclude, strings.TrimSpace(text[len(":include:"):])
			if !strings.HasPrefix(t.Text, "/") {
				return targets, fmt.Errorf(":include: without a full path: %q", t.Text)
			}
		case strings.HasPrefix(text, "/") && (quoted || !strings.Contains(text, "@")):
			t.Kind = TargetFile
		}
		if t.Text == "" {
			return targets, fmt.Errorf("an empty target")
		}
		if strings.ContainsAny(t.Text, "\x00\r\n") {
			return targets, fmt.Errorf("a control character in %q", t.Text)
		}
		targets = append(targets, t)
	}
}

// ParseTargetLines reads an :include: file or a .forward: targets line by
// line, with comments and continuation.
func ParseTargetLines(text string) ([]Target, error) {
	var (
		targets []Target
		errs    problems
	)
	config.Lines(text, func(line int, s string) {
		ts, err := ParseTargets(s)
		targets = append(targets, ts...)
		if err != nil {
			errs.add("", line, err.Error())
		}
	})
	return targets, errs.err()
}

// target takes one item off s: its text without quotes, whether all of it was
// quoted, and how many bytes of s it took.
func target(s string) (text string, quoted bool, n int, err error) {
	if s[0] == '<' {
		end := strings.IndexByte(s, '>')
		if end < 0 {
			return "", false, 0, fmt.Errorf("missing '>' in %q", s)
		}
		return strings.TrimSpace(s[1:end]), false, end + 1, nil
	}
	var b strings.Builder
	quoted = s[0] == '"'
	ends := ", \t\r\n<"
	if s[0] == '|' {
		ends = ","
	}
	for n < len(s) && strings.IndexByte(ends, s[n]) < 0 {
		if s[n] != '"' {
			quoted = false
			b.WriteByte(s[n])
			n++
			continue
		}
		q, k, err := unquote(s[n:])
		if err != nil {
			return "", false, n, err
		}
		b.WriteString(q)
		n += k
	}
	return b.String(), quoted, n, nil
}
