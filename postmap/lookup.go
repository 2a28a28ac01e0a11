package postmap

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"postrider/lib/database"
	"postrider/lib/table"
)

// maxLine bounds a key that is read from standard input, in bytes.
const maxLine = 1 << 20

// open opens a file for a table.
func open(path string) (*io.SectionReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("open %s: no regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return io.NewSectionReader(f, 0, st.Size()), nil // stays open to the end of the program
}

// tables opens all. What is wrong with lines is said; what cannot be opened is fatal.
func (c *command) tables(specs []table.Spec) (table.Maps, error) {
	var all table.Maps
	for _, s := range specs {
		o := table.Options{Open: open, Databases: database.Open}
		if c.alias {
			o.Aliases = []string{s.String()}
		}
		m, err := table.Open([]string{s.String()}, o)
		if err != nil && !errors.Is(err, table.ErrText) {
			return nil, err
		}
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				c.warn("%s", strings.TrimSuffix(line, "\n"))
			}
		}
		all = append(all, m...)
	}
	return all, nil
}

// lookup is -q: the value of a key in the first table that has it.
func (c *command) lookup(specs []table.Spec) error {
	m, err := c.tables(specs)
	if err != nil {
		return err
	}
	if c.query != "-" {
		v, ok, err := m.Lookup(context.Background(), c.query)
		switch {
		case err != nil:
			return err
		case !ok:
			return errNotFound
		}
		if v, err = c.plain(v); err == nil {
			_, err = fmt.Fprintln(c.out, v)
		}
		return err
	}
	w := bufio.NewWriter(c.out)
	defer w.Flush()
	found := false
	ask := func(key string) error {
		v, ok, err := m.Lookup(context.Background(), key)
		if ok {
			found = true
			if v, err = c.plain(v); err == nil {
				c.print(w, key, v)
			}
		}
		return err
	}
	keys := bufio.NewScanner(c.in)
	keys.Buffer(nil, maxLine)
	if c.headers || c.body {
		err = c.message(keys, ask)
	} else {
		for err == nil && keys.Scan() {
			err = ask(keys.Text())
		}
	}
	if err == nil {
		err = keys.Err()
	}
	if err == nil && !found {
		err = errNotFound
	}
	return err
}

// print writes a key and its value, as Postfix does.
func (c *command) print(w io.Writer, key, value string) {
	between := "\t"
	if c.alias {
		between = ":\t"
	}
	fmt.Fprintf(w, "%s%s%s\n", key, between, value)
}

// message asks for the fields of a message's header (-h) and the lines of its body (-b).
func (c *command) message(lines *bufio.Scanner, ask func(string) error) error {
	field, inBody := "", false
	flush := func() (err error) {
		if field != "" && c.headers {
			err = ask(field)
		}
		field = ""
		return err
	}
	for lines.Scan() {
		s := lines.Text()
		switch {
		case inBody:
			if c.body {
				if err := ask(s); err != nil {
					return err
				}
			}
		case s != "" && (s[0] == ' ' || s[0] == '\t') && field != "":
			field += "\n" + s
		default:
			if err := flush(); err != nil {
				return err
			}
			field = s
			if name, _, ok := strings.Cut(s, ":"); s == "" || !ok || strings.ContainsAny(strings.TrimRight(name, " \t"), " \t") {
				field, inBody = "", true
				if s != "" && c.body {
					if err := ask(s); err != nil {
						return err
					}
				}
			}
		}
	}
	return flush()
}

// all is -s: every record of the tables that are indexed.
func (c *command) all(specs []table.Spec) error {
	w := bufio.NewWriter(c.out)
	defer w.Flush()
	for _, s := range specs {
		if !s.Indexed() {
			return fmt.Errorf("unsupported operation for table type %s: look into %s", s.Type, s.Name)
		}
		r, err := open(s.Files()[0])
		if err == nil {
			err = table.EachRecord(r, func(x table.Record) bool {
				c.print(w, x.Key, x.Value)
				return true
			})
		}
		if err != nil {
			return fmt.Errorf("open %s: %w", s, err)
		}
	}
	return nil
}
