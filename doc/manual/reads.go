package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"postrider/lib/config"
)

// reads returns the names of the parameters that a program's code mentions: in its own
// folder, and in the packages of lib/ that it imports, theirs too. Parameters that every
// program takes part in by lib/config itself are not counted. smtp and lmtp, which are one
// program, name theirs without the first part.
func reads(root, program string) ([]string, error) {
	suffixes := map[string]string{}
	for _, p := range config.Params() {
		if p.Suffix != "" {
			suffixes[p.Suffix] = p.Name
		}
	}
	found := map[string]bool{}
	seen := map[string]bool{"lib/config": true}
	folder := program
	if program == "lmtp" {
		folder = "smtp"
	}
	var visit func(dir string) error
	visit = func(dir string) error {
		if seen[dir] {
			return nil
		}
		seen[dir] = true
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, dir, e.Name()), nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				l, ok := n.(*ast.BasicLit)
				if !ok || l.Kind != token.STRING {
					return true
				}
				s, _ := strconv.Unquote(l.Value)
				if name, ok := suffixes[s]; ok {
					s = name
				}
				if dir == "smtp" {
					for _, first := range []string{program + "_", program + "_helo", program + "_lhlo"} {
						if _, ok := config.Lookup(first + s); ok {
							s = first + s
						}
					}
				}
				if p, ok := config.Lookup(s); ok && p.Support == config.Supported {
					found[s] = true
				}
				return true
			})
			for _, i := range f.Imports {
				if dir, ok := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), "postrider/lib/"); ok {
					if err := visit("lib/" + dir); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}
	if err := visit(folder); err != nil {
		return nil, err
	}
	var names []string
	for name := range found {
		names = append(names, name)
	}
	sort.Strings(names)
	return names, nil
}
