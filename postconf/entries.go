package postconf

import (
	"fmt"
	"strings"

	"postrider/lib/config"
)

// entry is one service of master.cf, as words.
type entry struct {
	words  []string // the eight columns and the arguments; braces hold one together and are kept
	line   int      // the first line of the text, from 0
	lines  []int    // those that are its own: no comment or empty line between
	parsed config.Service
}

// columns are the names of the fields, as -F has them.
var columns = []string{"service", "type", "private", "unprivileged", "chroot", "wakeup", "process_limit", "command"}

// goals are the places at which the columns start.
var goals = []int{0, 11, 17, 25, 33, 41, 49, 57}

func (e *entry) name() string { return e.words[0] + "/" + e.words[1] }

// entries reads master.cf. Of two services with the same name and type the last holds,
// and only that is returned.
func entries(path, text string) ([]entry, config.Problems, error) {
	services, problems := config.ParseMaster(path, text)
	if err := problems.Err(); err != nil {
		return nil, nil, err
	}
	byLine := map[int]config.Service{}
	for _, s := range services {
		byLine[s.Line-1] = s
	}
	var found []entry
	open := false
	for n, line := range strings.Split(text, "\n") {
		bare := strings.TrimSpace(line)
		switch {
		case bare == "" || bare[0] == '#':
		case open && strings.ContainsRune(" \t\r\v\f", rune(line[0])):
			e := &found[len(found)-1]
			e.words = append(e.words, words(line)...)
			e.lines = append(e.lines, n)
		case strings.ContainsRune(" \t\r\v\f", rune(line[0])): // before all services: warned of
		default:
			found, open = append(found, entry{words: words(line), line: n, lines: []int{n}}), true
		}
	}
	kept := found[:0]
	for _, e := range found {
		if s, ok := byLine[e.line]; ok {
			e.parsed = s
			kept = append(kept, e)
		}
	}
	return kept, problems, nil
}

// words splits a line at blanks, but not inside braces.
func words(line string) []string {
	var all []string
	depth, start := 0, -1
	for i := 0; i <= len(line); i++ {
		blank := i == len(line) || strings.IndexByte(" \t\r\v\f", line[i]) >= 0
		if blank && (depth == 0 || i == len(line)) {
			if start >= 0 {
				all = append(all, line[start:i])
			}
			start = -1
			continue
		}
		if start < 0 {
			start = i
		}
		switch line[i] {
		case '{':
			depth++
		case '}':
			depth--
		}
	}
	return all
}

// option is one -o of an entry.
type option struct {
	name, value string
	at, n       int // the words that it is: from at on, one or two
}

// settings are the -o options. Options end where the command's own arguments begin.
func (e *entry) settings() []option {
	var all []option
	for i := len(columns); i < len(e.words); i++ {
		w := e.words[i]
		if len(w) < 2 || w[0] != '-' || w == "--" {
			break
		}
		if w[1] != 'o' {
			continue
		}
		o := option{at: i, n: 1}
		setting := w[2:]
		if setting == "" {
			if i++; i == len(e.words) {
				break
			}
			setting, o.n = e.words[i], 2
		}
		setting = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(setting, "{"), "}"))
		o.name, o.value, _ = strings.Cut(setting, "=")
		o.name, o.value = strings.TrimSpace(o.name), strings.TrimSpace(o.value)
		all = append(all, o)
	}
	return all
}

// text is the entry in Postfix's columns: on one line, or folded with each -o on a line
// of its own.
func (e *entry) text(folded bool) string {
	var b strings.Builder
	n := 0
	for i := range columns {
		if i > 0 {
			pad := max(1, goals[i]-n)
			b.WriteString(strings.Repeat(" ", pad))
			n += pad
		}
		b.WriteString(e.words[i])
		n += len(e.words[i])
	}
	options := true
	for i := len(columns); i < len(e.words); i++ {
		w := e.words[i]
		if options {
			switch {
			case w[0] != '-' || w == "--":
				options = false
				if i > len(columns) {
					n = lineLimit
				}
			case w == "-o" && i+1 < len(e.words):
				i++
				w += " " + tight(e.words[i])
				n = lineLimit
			case strings.HasPrefix(w, "-o"):
				n = lineLimit
			}
		}
		if !folded || n+1+len(w) < lineLimit {
			b.WriteByte(' ')
			n++
		} else {
			b.WriteString("\n" + indent)
			n = len(indent)
		}
		b.WriteString(w)
		n += len(w)
	}
	return b.String()
}

// tight takes the blanks out of "{ name = value }" that mean nothing.
func tight(w string) string {
	if !strings.HasPrefix(w, "{") || !strings.HasSuffix(w, "}") {
		return w
	}
	name, value, ok := strings.Cut(w[1:len(w)-1], "=")
	if !ok {
		return w
	}
	return "{" + strings.TrimSpace(name) + "=" + strings.TrimSpace(value) + "}"
}

// matches says whether the entry is meant by SERVICE or SERVICE/TYPE, in which * stands
// for any.
func (e *entry) matches(pattern []string) bool {
	for i, p := range pattern {
		if i < 2 && p != "*" && p != e.words[i] {
			return false
		}
	}
	return true
}

// split divides SERVICE/TYPE/THIRD; a service may be a path with slashes in braces only,
// as in Postfix.
func split(pattern string, most int) ([]string, error) {
	parts := strings.SplitN(pattern, "/", most)
	for _, p := range parts {
		if p == "" {
			return nil, fmt.Errorf("%q: write SERVICE/TYPE%s", pattern, map[bool]string{true: "/NAME"}[most > 2])
		}
	}
	return parts, nil
}
