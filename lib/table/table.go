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
// what is found first.
func (m Maps) First(ctx context.Context, keys []string) (string, bool, error) {
	for _, k := range keys {
		if v, ok, err := m.Lookup(ctx, k); ok || err != nil {
			return v, ok, err
		}
	}
	return "", false, nil
}

// Options is what Open needs besides the names.
type Options struct {
	Open Opener
	// Aliases are the tables ("hash:/etc/aliases") whose text has the syntax
	// of aliases(5): the values of alias_maps and alias_database.
	Aliases []string
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
			t, err = s.open(o.Open, alias)
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
