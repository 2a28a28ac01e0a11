package proxymap

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

	"postrider/lib/database"
	"postrider/lib/lockdown"
)

// tables are those that master named, by the paths of their definitions.
type tables struct {
	mu    sync.Mutex
	known map[string]*database.Table
	bad   map[string]error // what is wrong with a definition
}

// read takes the definitions, those that have changed anew, and returns what is wrong.
func (t *tables) read(files []string, text func(path string) ([]byte, error)) (errs map[string]error) {
	known, errs := map[string]*database.Table{}, map[string]error{}
	for _, path := range files {
		b, err := text(path)
		var d *database.Table
		if err == nil {
			d, err = database.Parse(string(b))
		}
		if err != nil {
			errs[path] = err
			continue
		}
		known[path] = d
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, old := range t.known {
		old.Close()
	}
	t.known, t.bad = known, errs
	return errs
}

// dirs are the directories that databases lie in.
func (t *tables) dirs() map[string]lockdown.Access {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]lockdown.Access{}
	for _, d := range t.known {
		path, err := filepath.EvalSymlinks(d.Path())
		if err != nil { // it may come
			path = d.Path()
		}
		all[filepath.Dir(path)] = lockdown.Read
	}
	return all
}

var errUnknown = errors.New("its definition is not there")

// lookup asks a table.
func (t *tables) lookup(path, key string) (value string, found bool, err error) {
	t.mu.Lock()
	d, err := t.known[path], t.bad[path]
	t.mu.Unlock()
	if d == nil {
		if err == nil {
			err = errUnknown
		}
		return "", false, err
	}
	return d.Lookup(context.Background(), key)
}
