package database

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseQuery(t *testing.T) {
	for _, x := range []struct{ in, text, args string }{
		{"SELECT a FROM t WHERE k = '%s'", "SELECT a FROM t WHERE k = ?", "s"},
		{"SELECT a FROM t WHERE k = %s;", "SELECT a FROM t WHERE k = ?", "s"},
		{"SELECT 'it''s', \"a b\" FROM [t 1] WHERE u = '%u' AND d = '%D'", "SELECT 'it''s', \"a b\" FROM [t 1] WHERE u = ? AND d = ?", "ud"},
		{"SELECT a FROM t WHERE k LIKE '%%.%2.%1'", "SELECT a FROM t WHERE k LIKE ('%.' || ? || '.' || ?)", "21"},
		{"SELECT 7 %% 2, ''", "SELECT 7 % 2, ''", ""},
	} {
		q, err := parseQuery(x.in)
		if err != nil || q.text != x.text || string(q.args) != x.args {
			t.Errorf("%s: %q %q %v", x.in, q.text, q.args, err)
		}
	}
	for _, bad := range []string{"", " ; ", "SELECT '%s", "SELECT '%x'", "SELECT %", "SELECT %z", `SELECT "%s"`, `SELECT "a`, "SELECT ?", "SELECT 1; DELETE FROM t", "SELECT 1 -- %s", "SELECT /* %s */ 1"} {
		if q, err := parseQuery(bad); err == nil {
			t.Errorf("%q was taken as %q", bad, q.text)
		}
	}
}

// What a query is made of cannot end its text, whatever it is made of.
func FuzzQuery(f *testing.F) {
	f.Add("SELECT a FROM t WHERE k LIKE '%%.%2.%1' AND \"b\" = 'it''s'")
	f.Fuzz(func(t *testing.T, s string) {
		q, err := parseQuery(s)
		if err == nil && strings.Count(q.text, "?") < len(q.args) {
			t.Fatalf("%q: %d parameters for %q", s, len(q.args), q.text)
		}
	})
}

func TestDefinition(t *testing.T) {
	d, err := parseDefinition("# vips\ndbpath = /var/lib/x.db\nquery = SELECT a\n  FROM t WHERE k = '%s'\nresult_format = %s:%d\ndomain = X.test, y.test\nexpansion_limit = 3\n")
	if err != nil || d.path != "/var/lib/x.db" || d.query.text != "SELECT a  FROM t WHERE k = ?" || d.limit != 3 || d.format != "%s:%d" || d.domain[0] != "x.test" {
		t.Errorf("%+v %v", d, err)
	}
	for text, want := range map[string]string{
		"query = SELECT 1": "dbpath is missing", "dbpath = /x": "query is missing", "dbpath = x": "no full path",
		"dbpath = /x\nselect_field = a": "line 2: select_field is of the interface before query", "dbpath = /x\nquery = SELECT '%x'": "line 2: query:",
		"result_format = %": "result_format", "domain = hash:/x": "domain:", "expansion_limit = -1": "expansion_limit", "what = 1": "unknown", "text": "name = value",
	} {
		if _, err := parseDefinition(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// fill makes a database.
func fill(t *testing.T, statements string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := sql.Open("sqlite", path)
	if err == nil {
		_, err = db.Exec(statements)
		db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLookup(t *testing.T) {
	path := fill(t, `CREATE TABLE t (k, v, w); INSERT INTO t VALUES ('a@x.test', 'one', 'two@y.test'), ('a@x.test', 'three', NULL), ('empty@x.test', '', ''), ('n@x.test', 7, '')`)
	table := func(lines string) *Table {
		d, err := parseDefinition("dbpath = " + path + "\n" + lines)
		if err != nil {
			t.Fatal(err)
		}
		x := &Table{definition: d}
		t.Cleanup(x.Close)
		return x
	}
	const query = "query = SELECT v, w FROM t WHERE k = '%s' ORDER BY v\n"
	for _, x := range []struct {
		lines, key, value string
		found             bool
	}{
		{query, "a@x.test", "one,two@y.test,three", true},
		{query, "A@X.test", "one,two@y.test,three", true},
		{query, "n@x.test", "7", true},
		{query, "empty@x.test", "", false},
		{query, "b@x.test", "", false},
		{query, "", "", false},
		{query, "' OR '1'='1", "", false},
		{query, "x'; DROP TABLE t; --@x.test", "", false},
		{query + "result_format = <%s> for %U at %2\n", "a@x.test", "<one> for a at x,<two@y.test> for a at x,<three> for a at x", true},
		{query + "result_format = %d\n", "a@x.test", "y.test", true},
		{query + "domain = y.test", "a@x.test", "", false},
		{query + "domain = x.test", "a@x.test", "one,two@y.test,three", true},
		{"query = SELECT v FROM t WHERE k = '%u@%d' AND v = 'one'", "a@x.test", "one", true},
		{"query = SELECT 'all' FROM t WHERE '%d' <> 'q'", "a", "", false}, // it has no domain
		{"query = SELECT 'all' FROM t WHERE '%3' <> 'q'", "a@x.test", "", false},
	} {
		v, found, err := table(x.lines).Lookup(context.Background(), x.key)
		if v != x.value || found != x.found || err != nil {
			t.Errorf("%q %q: %q %v %v", x.lines, x.key, v, found, err)
		}
	}
	if _, _, err := table(query+"expansion_limit = 2").Lookup(context.Background(), "a@x.test"); !errors.Is(err, errLimit) {
		t.Errorf("over the limit: %v", err)
	}
	for _, bad := range []string{"query = DELETE FROM t", "query = SELECT nothing FROM t", "query = INSERT INTO t VALUES ('%s', 1, 2)"} {
		if _, _, err := table(bad).Lookup(context.Background(), "a@x.test"); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}
