// Package rules holds what the parts of the suite may know of each other
// (house.md, "Rooms"; doc/internals.md).
package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "postrider"

// pure packages do no I/O: they get events and give actions.
var pure = []string{"lib/sched", "lib/policy"}

// forbidden are what pure packages must not import.
var forbidden = []string{"os", "net", "io/fs", "syscall", "os/exec", "os/signal", "golang.org/x/sys/unix", "net/http", "path/filepath"}

// beside are the programs that are no part of the suite: what a command of such a name imports.
var beside = map[string]string{"cmd/smtp-ledger": "test/ledger/command"}

// names that say nothing.
var names = []string{"util", "utils", "common", "helpers", "helper", "types", "misc", "base"}

// pkg is one package of ours.
type pkg struct {
	dir     string // "lib/ipc"
	name    string
	doc     bool
	imports map[string]string // import path to the file that has it; tests left out
}

func packages(t *testing.T) []pkg {
	t.Helper()
	found := map[string]*pkg{}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if base := d.Name(); rel != "." && (base[0] == '.' || base[0] == '_' || base == "testdata" || rel == "bin" || rel == "build") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		dir := path.Dir(rel)
		p := found[dir]
		if p == nil {
			p = &pkg{dir: dir, imports: map[string]string{}}
			found[dir] = p
		}
		note(p, f, rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for _, p := range found {
		all = append(all, *p)
	}
	slices.SortFunc(all, func(a, b pkg) int { return strings.Compare(a.dir, b.dir) })
	return all
}

func note(p *pkg, f *ast.File, file string) {
	if f.Doc != nil && strings.TrimSpace(f.Doc.Text()) != "" {
		p.doc = true
	}
	if strings.HasSuffix(file, "_test.go") {
		return
	}
	p.name = f.Name.Name
	for _, i := range f.Imports {
		p.imports[strings.Trim(i.Path.Value, `"`)] = file
	}
}

// violations are all breaches of the rules.
func violations(all []pkg) []string {
	var bad []string
	programs := map[string]bool{}
	for _, p := range all {
		if !strings.Contains(p.dir, "/") && p.name != "" && p.dir != "." {
			programs[p.dir] = true
		}
	}
	for _, p := range all {
		top, _, _ := strings.Cut(p.dir, "/")
		for imp, file := range p.imports {
			dir, ours := strings.CutPrefix(imp, module+"/")
			target, _, _ := strings.Cut(dir, "/")
			switch {
			case ours && top == "lib" && target != "lib":
				bad = append(bad, file+": lib imports "+imp)
			case ours && programs[top] && target != "lib" && target != top:
				bad = append(bad, file+": a program imports "+imp)
			case ours && top == "cmd" && dir != path.Base(p.dir) && dir != beside[p.dir] && (p.dir != "cmd/master" || target == "lib"):
				bad = append(bad, file+": a command imports more than its program: "+imp)
			case slices.Contains(pure, p.dir) && slices.Contains(forbidden, imp):
				bad = append(bad, file+": a package without I/O imports "+imp)
			case slices.Contains(pure, p.dir) && ours && dir != "lib/mail" && !slices.Contains(pure, dir):
				bad = append(bad, file+": a package without I/O imports "+imp)
			}
		}
		if !p.doc {
			bad = append(bad, p.dir+": no package comment")
		}
		if slices.Contains(names, path.Base(p.dir)) || slices.Contains(names, p.name) {
			bad = append(bad, p.dir+": a name that says nothing")
		}
	}
	return bad
}

func TestRules(t *testing.T) {
	all := packages(t)
	if len(all) < 10 {
		t.Fatalf("found %d packages only", len(all))
	}
	for _, v := range violations(all) {
		t.Error(v)
	}
}

// The rules can be broken.
func TestRulesBite(t *testing.T) {
	imports := func(dir string, imp ...string) pkg {
		p := pkg{dir: dir, name: path.Base(dir), doc: true, imports: map[string]string{}}
		for _, i := range imp {
			p.imports[i] = dir + "/x.go"
		}
		return p
	}
	good := []pkg{imports("qmgr", "postrider/lib/sched", "os"), imports("smtp", "postrider/smtp/inner"), imports("lib/sched", "postrider/lib/mail", "time"),
		imports("cmd/sendmail", "postrider/sendmail"), imports("cmd/master", "postrider/master", "postrider/qmgr")}
	if v := violations(good); v != nil {
		t.Errorf("good ones are blamed: %v", v)
	}
	for _, p := range []pkg{imports("lib/mail", "postrider/qmgr"), imports("smtp", "postrider/qmgr"), imports("lib/sched", "os"), imports("lib/sched", "postrider/lib/ipc"),
		imports("cmd/sendmail", "postrider/qmgr"), imports("cmd/master", "postrider/lib/mail"), imports("lib/util"), {dir: "lib/x", name: "x"}} {
		if v := violations(append(good, p)); len(v) != 1 {
			t.Errorf("%v: %v", p, v)
		}
	}
}

// Accounts that master asks for are those that make accounts makes.
func TestAccounts(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	makefile := read("Makefile")
	for l := range strings.Lines(read("master/accounts.go")) {
		f := strings.Fields(l)
		if len(f) == 3 && strings.HasPrefix(f[0], "user") && f[1] == "=" && !strings.Contains(makefile, " "+strings.Trim(f[2], `"`)) {
			t.Errorf("make accounts does not make %s", f[2])
		}
		if strings.Contains(l, `"useradd `) {
			flags, _, _ := strings.Cut(l[strings.Index(l, "useradd ")+len("useradd "):], ` "+`)
			if !strings.Contains(makefile, "NOLOGIN = "+flags+"\n") {
				t.Errorf("make accounts has not the flags %s", flags)
			}
		}
	}
}
