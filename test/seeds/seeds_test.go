// Package seeds holds doc/seeds.md to its promise: every line of the five documents'
// checklists is there, and every test that it names exists.
package seeds

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// lines are how many each document has, and its traps.
var lines = []struct {
	name  string
	count int
	traps string
}{{"EL", 53, "abcde"}, {"SW", 29, "abc"}, {"KU", 30, "ab"}, {"PF", 21, "ab"}, {"OE", 17, "ab"}}

var (
	named    = regexp.MustCompile("`([a-z0-9/]+)\\.(Test[A-Za-z0-9]+)`")
	recorded = regexp.MustCompile("`([a-z0-9/]+/testdata/[a-z_0-9.]+)`")
)

// faults says what is wrong with the table.
func faults(text string, exists func(dir, test string) bool) (bad []string) {
	answers := map[string]string{}
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 3 || !strings.HasPrefix(cells[0], "| ") || !strings.Contains(cells[0], "-") || strings.HasPrefix(cells[0], "|--") {
			continue
		}
		id := strings.TrimPrefix(cells[0], "| ")
		if answers[id] != "" {
			bad = append(bad, id+" is there twice")
		}
		answers[id] = strings.TrimSuffix(cells[2], " |")
	}
	want := func(id string) {
		a, ok := answers[id]
		delete(answers, id)
		kind, rest, _ := strings.Cut(a, ": ")
		tests := named.FindAllStringSubmatch(a, -1)
		files := recorded.FindAllStringSubmatch(a, -1)
		switch {
		case !ok:
			bad = append(bad, id+" is missing")
		case kind != "test" && kind != "otherwise" && kind != "later" || strings.TrimSpace(rest) == "":
			bad = append(bad, id+" has no answer")
		case kind == "test" && len(tests)+len(files) == 0:
			bad = append(bad, id+" names no test")
		}
		for _, x := range tests {
			if !exists(x[1], x[2]) {
				bad = append(bad, id+": there is no test "+x[1]+"."+x[2])
			}
		}
		for _, x := range files {
			if !exists(x[1], "") {
				bad = append(bad, id+": there is no file "+x[1])
			}
		}
	}
	for _, d := range lines {
		for n := range d.count {
			want(fmt.Sprintf("%s-%02d", d.name, n+1))
		}
		for _, trap := range d.traps {
			want(d.name + "-" + string(trap))
		}
	}
	for id := range answers {
		bad = append(bad, id+" is in no document")
	}
	return bad
}

func TestTable(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "doc", "seeds.md"))
	if err != nil {
		t.Fatal(err)
	}
	exists := func(dir, test string) bool {
		if test == "" {
			_, err := os.Stat(filepath.Join(root, dir))
			return err == nil
		}
		files, _ := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
		for _, f := range files {
			if src, err := os.ReadFile(f); err == nil && strings.Contains(string(src), "\nfunc "+test+"(t *testing.T)") {
				return true
			}
		}
		return false
	}
	for _, f := range faults(string(text), exists) {
		t.Error(f)
	}
	// It can fail: a line that is gone, a test that is not there.
	if len(faults(strings.Replace(string(text), "| EL-07 |", "| EL-99 |", 1), exists)) != 2 {
		t.Error("a missing line is not seen")
	}
	if len(faults(string(text), func(string, string) bool { return false })) < 50 {
		t.Error("missing tests are not seen")
	}
}
