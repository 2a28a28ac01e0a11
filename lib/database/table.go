package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"postrider/lib/table"
)

const (
	// queryTime is how long an answer may take, waiting for a connection included.
	queryTime = 5 * time.Second
	// lockTime is how long of that a writer's lock is waited for.
	lockTime = 3 * time.Second
	// connections is how many questions a database answers at once.
	connections = 4
	// valueMax is how long an answer may be, bytes.
	valueMax = 64 << 10
)

// errLimit is the kind of error of an answer that is too large to be meant.
var errLimit = errors.New("too many results")

// Table is a table whose definition was read. Questions may come from any goroutine.
type Table struct {
	definition
	mu   sync.Mutex
	db   *sql.DB // nil: not open
	file fileID  // which file that is
}

// Parse reads a definition.
func Parse(text string) (*Table, error) {
	d, err := parseDefinition(text)
	if err != nil {
		return nil, err
	}
	return &Table{definition: d}, nil
}

// Path is the file of the database.
func (t *Table) Path() string { return t.path }

// Open reads the definition in a file, for commands that ask as their caller may
// (table.Options.Databases). Errors of its Lookup are of kind table.ErrTemp.
func Open(path string) (table.Table, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := Parse(string(b))
	if err != nil {
		return nil, err
	}
	return asked{t}, nil
}

// asked is a Table for package table.
type asked struct{ *Table }

func (a asked) Lookup(ctx context.Context, key string) (string, bool, error) {
	v, found, err := a.Table.Lookup(ctx, key)
	if err != nil {
		err = fmt.Errorf("%w: %w", table.ErrTemp, err)
	}
	return v, found, err
}

// fileID tells a database from another that was put in its place.
type fileID struct{ dev, ino uint64 }

// open returns the database as it lies there now: one that was replaced is opened anew.
func (t *Table) open() (*sql.DB, error) {
	st, err := os.Stat(t.path)
	if err != nil {
		t.Close()
		return nil, err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: no regular file", t.path)
	}
	id := fileID{uint64(sys.Dev), sys.Ino}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.db != nil && t.file == id {
		return t.db, nil
	}
	if t.db != nil {
		go t.db.Close() // waits for the queries that it has
		t.db = nil
	}
	name := url.URL{Scheme: "file", Path: t.path, RawQuery: url.Values{
		"mode":    {"ro"},
		"_pragma": {fmt.Sprintf("busy_timeout(%d)", lockTime.Milliseconds()), "query_only(1)", "trusted_schema(0)"},
	}.Encode()}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	t.db, t.file = db, id
	return db, nil
}

// Close lets go of the database; it is opened again by the next question.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.db != nil {
		go t.db.Close()
		t.db = nil
	}
}

// Lookup asks for a key: all columns of all rows, each in result_format, joined by commas.
// It takes five seconds at most.
func (t *Table) Lookup(ctx context.Context, text string) (value string, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	k := newKey(strings.ToLower(text))
	if !t.covers(&k) {
		return "", false, nil
	}
	args, ok := t.query.values(&k)
	if !ok {
		return "", false, nil
	}
	db, err := t.open()
	if err != nil {
		return "", false, err
	}
	rows, err := db.QueryContext(ctx, t.query.text, args...)
	if err != nil {
		return "", false, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return "", false, err
	}
	row := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range row {
		into[i] = &row[i]
	}
	var results []string
	size := 0
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return "", false, err
		}
		for _, r := range row {
			if !r.Valid || r.String == "" {
				continue
			}
			of := newKey(r.String)
			s, ok := expand(t.format, &of, &k)
			if !ok {
				continue
			}
			results = append(results, s)
			if size += len(s) + 1; size > valueMax || t.limit > 0 && len(results) > t.limit {
				return "", false, fmt.Errorf("%w for %q (expansion_limit = %d; %d bytes in all)", errLimit, text, t.limit, valueMax)
			}
		}
	}
	if err := rows.Err(); err != nil {
		return "", false, err
	}
	return strings.Join(results, ","), results != nil, nil
}
