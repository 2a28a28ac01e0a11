package database

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"postrider/lib/config"
)

// definition is a table as sqlite_table(5) describes it.
type definition struct {
	path   string // dbpath
	query  query
	format string   // result_format
	domain []string // those whose keys are asked for; nil: all keys are
	limit  int      // expansion_limit; 0: none
}

// parseDefinition reads a table's file.
func parseDefinition(text string) (definition, error) {
	d := definition{format: "%s"}
	var errs []error
	config.Lines(text, func(line int, s string) {
		name, value, ok := strings.Cut(s, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		var err error
		switch {
		case !ok:
			err = errors.New("write name = value")
		default:
			err = d.set(name, value)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", line, err))
		}
	})
	if d.path == "" {
		errs = append(errs, errors.New("dbpath is missing"))
	}
	if d.query.text == "" && len(errs) == 0 {
		errs = append(errs, errors.New("query is missing"))
	}
	return d, errors.Join(errs...)
}

func (d *definition) set(name, value string) (err error) {
	switch name {
	case "dbpath":
		if d.path = filepath.Clean(value); !filepath.IsAbs(value) {
			return fmt.Errorf("dbpath %q is no full path", value)
		}
	case "query":
		if d.query, err = parseQuery(value); err != nil {
			return fmt.Errorf("query: %w", err)
		}
	case "result_format":
		for i := 0; i < len(value); i++ {
			if value[i] != '%' {
				continue
			}
			if i++; i == len(value) || value[i] != '%' && !expansion(value[i]) {
				return errors.New("result_format: a % is followed by one of sudSUD, 1 to 9 or %")
			}
		}
		d.format = value
	case "domain":
		words, err := config.SplitList(value)
		for _, w := range words {
			if strings.ContainsAny(w, "/:!") {
				return fmt.Errorf("domain: %s: write domains; files and tables are not read here", w)
			}
			d.domain = append(d.domain, strings.ToLower(w))
		}
		return err
	case "expansion_limit":
		if d.limit, err = strconv.Atoi(value); err != nil || d.limit < 0 {
			return fmt.Errorf("expansion_limit: %q is no number", value)
		}
	case "table", "select_field", "where_field", "additional_conditions", "select_function":
		return fmt.Errorf("%s is of the interface before query, which is not read: write a query", name)
	default:
		return fmt.Errorf("%s is unknown (dbpath, query, result_format, domain, expansion_limit)", name)
	}
	return nil
}

// covers says whether the table is asked for a key at all.
func (d *definition) covers(k *key) bool {
	return k.whole != "" && (d.domain == nil || k.user != "" && k.qualified && slices.Contains(d.domain, k.domain))
}
