package table

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Table maps keys to values. Lookups may come from any goroutine. Keys are
// folded to lower case by the table. An error is of kind ErrTemp.
type Table interface {
	Lookup(ctx context.Context, key string) (value string, found bool, err error)
}

// ErrTemp is the kind of error after which nobody knows whether the key is
// there: the answer to the client is a 4xx, never a 5xx.
var ErrTemp = errors.New("temporary lookup failure")

// ErrSpec is the kind of error for a "type:name" that cannot be understood.
var ErrSpec = errors.New("bad table")

// ErrText is the kind of error for lines of a text that cannot be understood and are
// left out.
var ErrText = errors.New("bad lines")

// Maps are tables that are searched in order. The zero value holds nothing.
type Maps []Table

// Lookup returns what the first table that has the key says.
func (m Maps) Lookup(ctx context.Context, key string) (string, bool, error) {
	for _, t := range m {
		if v, ok, err := t.Lookup(ctx, key); ok || err != nil {
			return v, ok, err
		}
	}
	return "", false, nil
}

// First looks the keys up one after the other, each in all tables, and returns
// what is found first. The first key is whole, the others are parts of it: these
// are not looked up in tables of patterns.
func (m Maps) First(ctx context.Context, keys []string) (string, bool, error) {
	v, at, err := m.Find(ctx, keys)
	return v, at >= 0, err
}

// Find is First, and says by which key the value was found; -1: by none.
func (m Maps) Find(ctx context.Context, keys []string) (value string, at int, err error) {
	for i, k := range keys {
		for _, t := range m {
			if i > 0 && wholeOnly(t) {
				continue
			}
			if v, ok, err := t.Lookup(ctx, k); ok || err != nil {
				if err != nil {
					i = -1
				}
				return v, i, err
			}
		}
	}
	return "", -1, nil
}

// Options is what Open needs besides the names.
type Options struct {
	Open Opener
	// Databases opens the table whose definition is in a file (lib/database). nil: there
	// are none, as for main.cf, whose tables are asked in the middle of other work.
	Databases func(path string) (Table, error)
	// Aliases are the tables ("hash:/etc/aliases") that postalias makes: the values
	// of alias_maps and alias_database.
	Aliases []string
	// Fixed refuses tables of patterns whose answers have parts of the key in them:
	// for tables of what is executed or written to.
	Fixed bool
}

// Open opens the tables of a parameter such as transport_maps. The Maps can be
// used whatever the error: a table that could not be opened answers every
// lookup with ErrTemp, so that mail waits and is not refused. The error says
// all that is wrong, bad lines of text tables too, for the log.
func Open(specs []string, o Options) (Maps, error) {
	var (
		m    Maps
		errs []error
	)
	for _, text := range specs {
		s, err := Parse(text)
		var t Table
		if err == nil {
			alias := false
			for _, a := range o.Aliases {
				if p, err := Parse(a); err == nil && p.Type == s.Type && p.Name == s.Name {
					alias = true
				}
			}
			t, err = s.open(&o, alias)
		}
		if err != nil {
			errs = append(errs, err)
		}
		if t == nil {
			t = broken{fmt.Errorf("%s: %w: %v", text, ErrTemp, err)}
		}
		m = append(m, t)
	}
	return m, errors.Join(errs...)
}

// broken stands for a table that could not be opened.
type broken struct{ err error }

func (b broken) Lookup(context.Context, string) (string, bool, error) { return "", false, b.err }

// static has the same value for every key.
type static string

func (s static) Lookup(context.Context, string) (string, bool, error) { return string(s), true, nil }

// memory is a table that is held whole. Its keys are in lower case.
type memory map[string]string

func (m memory) Lookup(_ context.Context, key string) (string, bool, error) {
	v, ok := m[strings.ToLower(key)]
	return v, ok, nil
}
