package table

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"postrider/lib/config"
)

// Opener gives the contents of a file that the configuration names.
type Opener func(path string) (*io.SectionReader, error)

// Spec is a parsed "type:name".
type Spec struct {
	Type string // without proxy:
	Name string
}

// String gives the spec as written, without proxy:.
func (s Spec) String() string { return s.Type + ":" + s.Name }

const passwdFile = "/etc/passwd"

// indexed are the types whose text source is read until there are indexes.
var indexed = []string{"hash", "btree", "lmdb", "dbm", "cdb"}

// Parse reads "type:name". An error is of kind ErrSpec.
func Parse(text string) (Spec, error) {
	s := Spec{}
	var ok bool
	s.Type, s.Name, ok = strings.Cut(strings.TrimPrefix(text, "proxy:"), ":")
	if !ok {
		if strings.HasPrefix(text, "/") {
			return s, fmt.Errorf("%w: %s: write type:name, for example texthash:%s", ErrSpec, text, text)
		}
		return s, fmt.Errorf("%w: %s: write type:name", ErrSpec, text)
	}
	switch {
	case s.Type == "static":
	case s.Type == "inline":
		if _, err := parseInline(s.Name); err != nil {
			return s, fmt.Errorf("%w: %s: %v", ErrSpec, text, err)
		}
	case s.Type == "unix":
		if s.Name != "passwd.byname" {
			return s, fmt.Errorf("%w: %s: only unix:passwd.byname is known", ErrSpec, text)
		}
	case s.Type == "texthash", slices.Contains(indexed, s.Type):
		if !strings.HasPrefix(s.Name, "/") {
			return s, fmt.Errorf("%w: %s: write the full path of the file", ErrSpec, text)
		}
	default:
		return s, fmt.Errorf("%w: %s: type %q is not supported (inline, static, texthash, hash, unix)", ErrSpec, text, s.Type)
	}
	return s, nil
}

// Files returns the paths that the table is read from.
func (s Spec) Files() []string {
	switch s.Type {
	case "static", "inline":
		return nil
	case "unix":
		return []string{passwdFile}
	}
	return []string{s.Name}
}

// Files returns the paths that the tables are read from, each once. A spec
// that cannot be understood needs none.
func Files(specs []string) []string {
	var paths []string
	for _, text := range specs {
		s, err := Parse(text)
		if err != nil {
			continue
		}
		for _, p := range s.Files() {
			if !slices.Contains(paths, p) {
				paths = append(paths, p)
			}
		}
	}
	return paths
}

// maxText is how large the text of one table may be; it is held in memory.
const maxText = 256 << 20

// open reads the table. Both results may be there: a table, and what is wrong
// with some of its lines.
func (s Spec) open(open Opener, alias bool) (Table, error) {
	switch s.Type {
	case "static":
		text := s.Name
		if w, err := config.SplitList(text); err == nil && len(w) == 1 && strings.HasPrefix(text, "{") {
			text = w[0]
		}
		return static(text), nil
	case "inline":
		return parseInline(s.Name)
	}
	path := s.Files()[0]
	r, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("open table %s: %w", s, err)
	}
	if r.Size() > maxText {
		return nil, fmt.Errorf("open table %s: larger than %d bytes", s, maxText)
	}
	b := make([]byte, r.Size())
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, r.Size()), b); err != nil {
		return nil, fmt.Errorf("read table %s: %w", s, err)
	}
	switch {
	case s.Type == "unix":
		return parsePasswd(string(b)), nil
	case alias && s.Type != "texthash":
		return parseAliases(path, string(b))
	}
	return parseText(path, string(b))
}

// parseInline reads "{ {key = value}, key=value }".
func parseInline(text string) (memory, error) {
	text = strings.TrimSpace(text)
	outer, err := config.SplitList(text)
	if err != nil {
		return nil, err
	}
	if len(outer) != 1 || text[0] != '{' {
		return nil, fmt.Errorf("write inline:{ {key = value}, key=value }")
	}
	words, err := config.SplitList(outer[0])
	if err != nil {
		return nil, err
	}
	m := make(memory, len(words))
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if k = strings.TrimSpace(k); !ok || k == "" {
			return nil, fmt.Errorf("expected key=value, not %q", w)
		}
		m.put(k, strings.TrimSpace(v))
	}
	return m, nil
}

func (m memory) put(key, value string) { m[strings.ToLower(key)] = value }

// parsePasswd reads passwd(5): the key is the user's name as it is, the value
// the whole line.
func parsePasswd(text string) memory {
	m := memory{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		name, _, ok := strings.Cut(line, ":")
		if ok && name != "" && name[0] != '#' && name[0] != '+' && name[0] != '-' {
			m[name] = line
		}
	}
	return m
}
