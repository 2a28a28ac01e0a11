package table

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"postrider/lib/config"
)

// Opener gives the contents of a file that the configuration names.
type Opener func(path string) (*io.SectionReader, error)

// Spec is a parsed "type:name".
type Spec struct {
	Type  string // without proxy:
	Name  string
	parts []Spec   // of unionmap: and pipemap:
	words []string // of randmap:
}

// String gives the spec as written, without proxy:.
func (s Spec) String() string { return s.Type + ":" + s.Name }

const passwdFile = "/etc/passwd"

// indexed are the types that stand for an indexed file. There is one kind of them: what
// main.cf calls hash: or lmdb: is NAME.cdb, made by postmap or postalias.
var indexed = []string{"hash", "btree", "lmdb", "cdb", "dbm", "sdbm"}

// texts are the types that are read from a text file as it is.
var texts = []string{"texthash", "regexp", "pcre", "cidr"}

// databases are the types that are asked by proxymap alone, by the definition in a file.
// Only a policy may name them (lookup in sched.cf): its questions are jobs, while those
// of main.cf are asked in the middle of other work.
var databases = []string{"sqlite"}

// IndexSuffix is what follows the name of a table in the name of its indexed file.
const IndexSuffix = ".cdb"

// Types returns all types, as postconf -m lists them.
func Types() []string {
	all := slices.Concat(indexed, texts, databases, []string{"fail", "inline", "pipemap", "proxy", "randmap", "static", "unionmap", "unix"})
	slices.Sort(all)
	return all
}

// Indexed says whether the table is made from a text by postmap or postalias.
func (s Spec) Indexed() bool { return slices.Contains(indexed, s.Type) }

// File says whether the table's name is that of a file.
func (s Spec) File() bool { return s.Indexed() || slices.Contains(texts, s.Type) }

// Database says whether the table is one that only proxymap can ask.
func (s Spec) Database() bool { return slices.Contains(databases, s.Type) }

// inlineText says whether the lines of a table stand in its name: regexp:{ {/x/ OK} }.
func inlineText(s Spec) bool {
	return slices.Contains([]string{"regexp", "pcre", "cidr"}, s.Type) && strings.HasPrefix(s.Name, "{")
}

// maxNested is how deep tables of tables may be.
const maxNested = 10

// Parse reads "type:name". An error is of kind ErrSpec.
func Parse(text string) (Spec, error) { return parse(text, 0) }

func parse(text string, depth int) (Spec, error) {
	s := Spec{}
	wrong := func(format string, args ...any) (Spec, error) {
		return s, fmt.Errorf("%w: %s: %s", ErrSpec, text, fmt.Sprintf(format, args...))
	}
	var ok bool
	s.Type, s.Name, ok = strings.Cut(strings.TrimPrefix(text, "proxy:"), ":")
	if !ok {
		if strings.HasPrefix(text, "/") {
			return wrong("write type:name, for example texthash:%s", text)
		}
		return wrong("write type:name")
	}
	switch {
	case s.Type == "static", s.Type == "fail":
	case s.Type == "inline":
		if _, err := parseInline(s.Name); err != nil {
			return wrong("%v", err)
		}
	case s.Type == "unix":
		if s.Name != "passwd.byname" {
			return wrong("only unix:passwd.byname is known")
		}
	case s.Type == "unionmap", s.Type == "pipemap", s.Type == "randmap":
		words, err := braced(s.Name)
		if err != nil || len(words) == 0 || depth == maxNested {
			return wrong("write %s:{one, two, ...}", s.Type)
		}
		if s.Type == "randmap" {
			s.words = words
			break
		}
		for _, w := range words {
			part, err := parse(w, depth+1)
			if err != nil {
				return s, err
			}
			s.parts = append(s.parts, part)
		}
	case s.File(), s.Database():
		if s.Database() && depth > 0 {
			return wrong("a database cannot be a part of another table")
		}
		if inlineText(s) {
			if _, err := braced(s.Name); err != nil {
				return wrong("write %s:{ {line one}, {line two} }: %v", s.Type, err)
			}
			break
		}
		if !strings.HasPrefix(s.Name, "/") {
			return wrong("write the full path of the file")
		}
	default:
		return wrong("type %q is not supported (%s)", s.Type, strings.Join(Types(), ", "))
	}
	return s, nil
}

// Files returns the paths that the table is read from.
func (s Spec) Files() []string {
	var paths []string
	for _, leaf := range s.leaves(nil) {
		switch {
		case leaf.Type == "unix":
			paths = append(paths, passwdFile)
		case leaf.Indexed():
			paths = append(paths, leaf.Name+IndexSuffix)
		case inlineText(leaf):
		case slices.Contains(texts, leaf.Type), leaf.Database():
			paths = append(paths, leaf.Name)
		}
	}
	return paths
}

// leaves appends the tables that the table is made of, itself if of none.
func (s Spec) leaves(to []Spec) []Spec {
	if s.parts == nil {
		return append(to, s)
	}
	for _, p := range s.parts {
		to = p.leaves(to)
	}
	return to
}

// Leaves returns the tables that specs are made of, for those who look at each by
// itself. A spec that cannot be understood is left out.
func Leaves(specs []string) []Spec {
	var all []Spec
	for _, text := range specs {
		if s, err := Parse(text); err == nil {
			all = s.leaves(all)
		}
	}
	return all
}

// Files returns the paths that the tables are read from, each once. A spec
// that cannot be understood needs none.
func Files(specs []string) []string {
	var paths []string
	for _, s := range Leaves(specs) {
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
func (s Spec) open(o *Options, alias bool) (Table, error) {
	switch s.Type {
	case "static":
		text := s.Name
		if w, err := config.SplitList(text); err == nil && len(w) == 1 && strings.HasPrefix(text, "{") {
			text = w[0]
		}
		return static(text), nil
	case "fail":
		return broken{fmt.Errorf("%s: %w", s, ErrTemp)}, nil
	case "inline":
		return parseInline(s.Name)
	case "randmap":
		return random(s.words), nil
	case "unionmap", "pipemap":
		return s.openParts(o)
	}
	if s.Database() && o.Databases != nil {
		t, err := o.Databases(s.Name)
		if err != nil {
			return nil, fmt.Errorf("open table %s: %w", s, err)
		}
		return t, nil
	}
	if s.Database() {
		return nil, fmt.Errorf("open table %s: %w: only lookup in sched.cf asks databases; make a hash: table of it with postmap", s, ErrSpec)
	}
	if inlineText(s) {
		lines, err := braced(s.Name)
		if err != nil {
			return nil, err
		}
		return s.read("main.cf", strings.Join(lines, "\n"), o)
	}
	path := s.Files()[0]
	r, err := o.Open(path)
	if err != nil {
		if s.Indexed() && errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("open table %s: %w", s, &missingIndex{s.Name, alias, err})
		}
		return nil, fmt.Errorf("open table %s: %w", s, err)
	}
	if s.Indexed() {
		c, err := openCDB(s.String(), r)
		if err != nil {
			return nil, badText{fmt.Errorf("open table %s: %w", s, err)}
		}
		return c, nil
	}
	if r.Size() > maxText {
		return nil, fmt.Errorf("open table %s: larger than %d bytes", s, maxText)
	}
	b := make([]byte, r.Size())
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, r.Size()), b); err != nil {
		return nil, fmt.Errorf("read table %s: %w", s, err)
	}
	return s.read(path, string(b), o)
}

// read makes a table of its text.
func (s Spec) read(path, text string, o *Options) (Table, error) {
	switch s.Type {
	case "unix":
		return parsePasswd(text), nil
	case "regexp", "pcre":
		return parsePatterns(path, text, s.Type == "pcre", o.Fixed)
	case "cidr":
		return parseNetworks(path, text)
	}
	return parseText(path, text)
}

func (s Spec) openParts(o *Options) (Table, error) {
	var (
		list Maps
		errs []error
	)
	for _, p := range s.parts {
		t, err := p.open(o, false)
		if err != nil {
			errs = append(errs, err)
		}
		if t == nil {
			t = broken{fmt.Errorf("%s: %w: %v", p, ErrTemp, err)}
		}
		list = append(list, t)
	}
	if s.Type == "pipemap" {
		return pipe(list), errors.Join(errs...)
	}
	return union(list), errors.Join(errs...)
}

// missingIndex says how to make an indexed file that is not there.
type missingIndex struct {
	name  string
	alias bool
	err   error
}

func (e *missingIndex) Error() string {
	command := "postmap"
	if e.alias {
		command = "postalias"
	}
	return fmt.Sprintf("%s is not there: run %q", e.name+IndexSuffix, command+" "+e.name)
}

func (e *missingIndex) Unwrap() error { return e.err }

// braced returns the words of "{ one, two }".
func braced(text string) ([]string, error) {
	text = strings.TrimSpace(text)
	outer, err := config.SplitList(text)
	if err != nil {
		return nil, err
	}
	if len(outer) != 1 || text[0] != '{' {
		return nil, fmt.Errorf("braces are missing")
	}
	return config.SplitList(outer[0])
}

// parseInline reads "{ {key = value}, key=value }".
func parseInline(text string) (memory, error) {
	words, err := braced(text)
	if err != nil {
		return nil, fmt.Errorf("write inline:{ {key = value}, key=value }: %v", err)
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
