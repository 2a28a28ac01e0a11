package config

import (
	"slices"
	"sort"
	"strings"
	"time"
)

// Kind is the type of a parameter's value.
type Kind uint8

// The kinds of parameters.
const (
	KindString Kind = iota
	KindRaw         // a string in which "$" is not special here: it is expanded for each delivery
	KindBool        // yes or no
	KindInt
	KindTime  // a number and a unit: s, m, h, d, w, or ms where the default has it
	KindList  // words separated by blanks or commas; braces hold one together
	KindMatch // a list of patterns; "/file" stands for the patterns in that file
)

var kindNames = [...]string{"string", "raw string", "yes or no", "number", "time", "list", "pattern list"}

func (k Kind) String() string { return kindNames[k] }

// Support says what we do with a parameter of Postfix. None is refused; those that
// nothing reads are named by `postrider check` when main.cf sets them.
type Support uint8

// The kinds of support.
const (
	Supported     Support = iota
	WithoutEffect         // accepted: what it asks for happens anyway, or has no sense here
	Unsupported           // what it asks for does not happen
)

var supportNames = [...]string{"supported", "without effect", "not supported"}

func (s Support) String() string { return supportNames[s] }

// Param is one row of the table of parameters.
type Param struct {
	Name    string
	Kind    Kind
	Default string        // not expanded; unused when the default is computed
	Unit    time.Duration // KindTime: of a number without unit
	Min     int64         // KindInt
	Max     int64         // KindInt; 0: no upper limit. KindTime: in seconds
	Words   []string      // if not nil: the values, or list members, allowed
	Help    string        // one line, for people

	// Suffix is set in rows that are the default of a parameter per transport:
	// with "destination_concurrency_limit", the row holds for every transport
	// NAME that has no NAME_destination_concurrency_limit.
	Suffix string

	// Support says whether anything reads the parameter, and Why, where nothing
	// does: why none of it is missed, or what to use instead.
	Support Support
	Why     string

	compute func(*expander) string
	file    bool                    // a value "/file" stands for the first line of that file
	check   func(text string) error // of the expanded value; may be nil
}

// Computed says that the default is worked out, from the machine or other parameters.
func (p *Param) Computed() bool { return p.compute != nil }

// Params returns the table, sorted by name.
func Params() []Param { return append([]Param(nil), table...) }

// Lookup returns the row of a parameter.
func Lookup(name string) (Param, bool) {
	i, ok := rows[name]
	if !ok {
		return Param{}, false
	}
	return table[i], true
}

// The parts of the table: what we read, and what only Postfix does. A row of the first
// holds before one of the second.
var (
	ours     = [][]Param{instanceParams, addressParams, rewriteParams, smtpdParams, accessParams, contentParams, smtpParams, queueParams, localParams, tlsParams, lmtpParams()}
	postfixs = [][]Param{postfixSystem, postfixRewrite, postfixLocal, postfixSMTP, postfixTLS, postfixSMTPD}
)

var (
	table    []Param
	rows     map[string]int    // name to place in table
	suffixes map[string]string // suffix to the name of its row
)

func init() {
	table = slices.Concat(ours...)
	named := make(map[string]bool, len(table))
	for _, p := range table {
		named[p.Name] = true
	}
	for _, p := range slices.Concat(postfixs...) {
		if !named[p.Name] {
			table = append(table, p)
		}
	}
	sort.Slice(table, func(i, j int) bool { return table[i].Name < table[j].Name })
	rows = make(map[string]int, len(table))
	suffixes = map[string]string{}
	for i, p := range table {
		rows[p.Name] = i
		if p.Suffix != "" {
			suffixes[p.Suffix] = p.Name
		}
	}
}

// The makers of rows: name, default, what else the kind needs, help.

func str(name, def, help string) Param {
	return Param{Name: name, Kind: KindString, Default: def, Help: help}
}

func raw(name, def, help string) Param {
	return Param{Name: name, Kind: KindRaw, Default: def, Help: help}
}

func word(name, def string, words []string, help string) Param {
	return Param{Name: name, Kind: KindString, Default: def, Words: words, Help: help}
}

func yesno(name, def, help string) Param {
	return Param{Name: name, Kind: KindBool, Default: def, Help: help}
}

func number(name, def string, min, max int64, help string) Param {
	return Param{Name: name, Kind: KindInt, Default: def, Min: min, Max: max, Help: help}
}

func span(name, def string, unit time.Duration, help string) Param {
	return Param{Name: name, Kind: KindTime, Default: def, Unit: unit, Help: help}
}

func list(name, def, help string) Param {
	return Param{Name: name, Kind: KindList, Default: def, Help: help}
}

func match(name, def, help string) Param {
	return Param{Name: name, Kind: KindMatch, Default: def, Help: help}
}

func computed(name string, f func(*expander) string, help string) Param {
	return Param{Name: name, Kind: KindString, Help: help, compute: f}
}

// checked adds a check of the expanded value to p.
func checked(p Param, check func(string) error) Param {
	p.check = check
	return p
}

// orFile lets "/file" stand for the file's first line, as in Debian's Postfix.
func orFile(p Param) Param {
	p.file = true
	return p
}

// perTransport makes p the default of NAME_suffix for every transport NAME.
func perTransport(suffix string, p Param) Param {
	p.Suffix = suffix
	return p
}

// accepted marks p as known but read by nothing, and says why that is no loss.
func accepted(why string, p Param) Param {
	p.Support, p.Why = WithoutEffect, why
	return p
}

// unsupported marks p as known but read by nothing, and says what to do instead.
func unsupported(why string, p Param) Param {
	p.Support, p.Why = Unsupported, why
	return p
}

// unread makes rows of lines "name = default" of Postfix's parameters that nothing
// here reads. Their values are taken as they are, and checked by nobody.
func unread(support Support, why, lines string) []Param {
	var ps []Param
	for line := range strings.Lines(lines) {
		name, def, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " =")
		if ok {
			ps = append(ps, Param{Name: name, Kind: KindRaw, Default: strings.TrimSpace(def), Support: support, Why: why})
		}
	}
	return ps
}

const (
	second = time.Second
	hour   = time.Hour
	day    = 24 * time.Hour
)
