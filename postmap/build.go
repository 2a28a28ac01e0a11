package postmap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"postrider/lib/table"
)

// maxText is how large the text of a table may be, in bytes; an index has at most 4 GB.
const maxText = 2 << 30

// entries are the records of an index in the making, in their order.
type entries struct {
	list  []table.Record
	place map[string]int // by key
}

// put takes a record. One whose key is there replaces it or is left out; it says which
// keys were there.
func (e *entries) put(r table.Record, replace bool) (twice bool) {
	i, twice := e.place[r.Key]
	switch {
	case !twice:
		e.place[r.Key] = len(e.list)
		e.list = append(e.list, r)
	case replace:
		e.list[i].Value = r.Value
	}
	return twice
}

// old reads the index that is there. Without one there are no entries.
func old(path string) (*entries, error) {
	e := &entries{place: map[string]int{}}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return e, err
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	err = table.EachRecord(io.NewSectionReader(f, 0, st.Size()), func(r table.Record) bool {
		e.put(r, false)
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return e, nil
}

// build makes the index of a table from its text, or with -i adds what comes on standard
// input.
func (c *command) build(s table.Spec) error {
	target := s.Name + table.IndexSuffix
	e := &entries{place: map[string]int{}}
	source, in := s.Name, io.Reader(nil)
	like, err := os.Stat(s.Name)
	if c.incremental {
		if like, err = os.Stat(target); errors.Is(err, fs.ErrNotExist) {
			if like, err = os.Stat(s.Name); errors.Is(err, fs.ErrNotExist) {
				like, err = nil, nil // from standard input alone
			}
		}
		source, in = "standard input", c.in
	}
	if err != nil {
		return fmt.Errorf("open %w", err)
	}
	if like != nil && !like.Mode().IsRegular() {
		return fmt.Errorf("open %s: no regular file", s.Name)
	}
	return c.asOwner(like, func() error {
		r := &replacement{target: target, like: like}
		if c.own {
			r.like = nil
		}
		if err := r.begin(); err != nil {
			return err
		}
		defer r.abort()
		if c.incremental {
			if e, err = old(target); e == nil {
				return err
			}
		} else {
			f, err := os.Open(s.Name)
			if err != nil {
				return err
			}
			defer f.Close()
			in = f
		}
		text, err := io.ReadAll(io.LimitReader(in, maxText+1))
		if err == nil && len(text) > maxText {
			err = fmt.Errorf("larger than %d bytes", maxText)
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", source, err)
		}
		var unread error
		err = table.ReadSource(source, string(text), c.alias, func(key, value string) bool {
			if c.files {
				if value, err = encoded(value); err != nil && unread == nil {
					unread = err
				}
			}
			if !c.keepCase {
				key = strings.ToLower(key)
			}
			return !e.put(table.Record{Key: key, Value: value}, c.replace) || c.replace || c.ignore
		})
		if unread != nil {
			return unread
		}
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				c.warn("%s", strings.TrimSuffix(line, "\n"))
			}
		}
		return r.write(e.list, c.nul)
	})
}

// delete takes keys out of the first of the tables that has them.
func (c *command) delete(specs []table.Spec) error {
	keys := []string{c.remove}
	if c.remove == "-" {
		b, err := io.ReadAll(c.in)
		if err != nil {
			return err
		}
		keys = strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	}
	gone := map[string]bool{}
	for _, key := range keys {
		if !c.keepCase {
			key = strings.ToLower(key)
		}
		gone[key] = true
	}
	found := false
	for _, s := range specs {
		if !s.Indexed() {
			return fmt.Errorf("unsupported operation for table type %s: edit %s", s.Type, s.Name)
		}
		target := s.Name + table.IndexSuffix
		like, err := os.Stat(target)
		if err != nil {
			return err
		}
		err = c.asOwner(like, func() error {
			r := &replacement{target: target, like: like}
			if err := r.begin(); err != nil {
				return err
			}
			defer r.abort()
			e, err := old(target)
			if err != nil {
				return err
			}
			left := e.list[:0]
			here := map[string]bool{}
			for _, x := range e.list {
				if gone[x.Key] {
					here[x.Key] = true
					continue
				}
				left = append(left, x)
			}
			if len(here) == 0 {
				return nil
			}
			found = true
			if c.remove != "-" { // many keys are deleted wherever they are
				clear(gone)
			}
			return r.write(left, c.nul)
		})
		if err != nil {
			return err
		}
	}
	if !found {
		return errNotFound
	}
	return nil
}
