package table

import (
	"context"
	"math/rand/v2"
	"strings"
)

// union is unionmap:{...}: what each of its tables says, joined by commas.
type union Maps

// Lookup implements Table.
func (u union) Lookup(ctx context.Context, key string) (string, bool, error) {
	var all []string
	for _, t := range u {
		v, ok, err := t.Lookup(ctx, key)
		if err != nil {
			return "", false, err
		}
		if ok {
			all = append(all, v)
		}
	}
	return strings.Join(all, ","), all != nil, nil
}

// pipe is pipemap:{...}: what a table says is the key for the next one.
type pipe Maps

// Lookup implements Table.
func (p pipe) Lookup(ctx context.Context, key string) (string, bool, error) {
	for _, t := range p {
		v, ok, err := t.Lookup(ctx, key)
		if !ok || err != nil {
			return "", false, err
		}
		key = v
	}
	return key, true, nil
}

// random is randmap:{...}: any of its words, whatever the key.
type random []string

// Lookup implements Table.
func (r random) Lookup(context.Context, string) (string, bool, error) {
	return r[rand.IntN(len(r))], true, nil
}

// wholeOnly says whether a table has patterns for whole keys only: parts of an address
// or the parents of a domain are not looked up there (DICT_FLAG_FIXED in Postfix).
func wholeOnly(t Table) bool {
	switch t := t.(type) {
	case union:
		return allWhole(t)
	case pipe:
		return len(t) > 0 && wholeOnly(t[0])
	}
	_, ok := t.(interface{ wholeKeys() })
	return ok
}

func allWhole(list []Table) bool {
	for _, t := range list {
		if !wholeOnly(t) {
			return false
		}
	}
	return true
}
