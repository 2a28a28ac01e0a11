package config

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// notCode are folders whose files read no parameter of a running system.
var notCode = []string{"test", "bench", "doc", "testdata"}

// quoted is a word behind a quotation mark or a dollar sign.
var quoted = regexp.MustCompile(`["$]\{?([A-Za-z0-9_]+)`)

// mentions returns the words in strings of the programs' code outside this package's table.
func mentions(t *testing.T) map[string]bool {
	t.Helper()
	words := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if slices.Contains(notCode, e.Name()) || strings.HasPrefix(e.Name(), ".") && e.Name() != "." && e.Name() != ".." {
				return filepath.SkipDir
			}
			return nil
		}
		name := e.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") ||
			filepath.Dir(path) == "../../lib/config" && (strings.HasPrefix(name, "params_") || strings.HasPrefix(name, "postfix_")) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if _, err := parser.ParseFile(token.NewFileSet(), path, text, parser.PackageClauseOnly); err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if code, _, _ := strings.Cut(line, "// "); strings.Contains(code, "\"") {
				for _, m := range quoted.FindAllStringSubmatch(code, -1) {
					words[m[1]] = true
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return words
}

// byExpansion are parameters that are read only as $name in values of others, or by the
// expander itself.
var byExpansion = map[string]string{
	"mydomain":              "in defaults, and computed",
	"virtual_maps":          "in virtual_alias_maps",
	"multi_instance_name":   "in syslog_name",
	"config_directory":      "computed, and known to whoever reads main.cf",
	"enable_long_queue_ids": "there are no others; Postfix's main.cf may say so",
	"smtp_helo_timeout":     "by what follows smtp_ or lmtp_: helo or lhlo",
	"smtp_helo_name":        "the same",
}

// TestSupportedIsRead: what the table says is supported is read by code outside it; what is
// accepted without effect or not supported is read by nobody.
func TestSupportedIsRead(t *testing.T) {
	code := mentions(t)
	has := func(name string) bool { return code[name] }
	read := func(p Param) bool {
		if has(p.Name) || p.Suffix != "" && has(p.Suffix) {
			return true
		}
		for _, prefix := range []string{"smtp_", "lmtp_", "smtp_tls_", "smtpd_tls_", "smtpd_", "smtp_sasl_", "lmtp_tls_", "lmtp_sasl_"} {
			// Parameters that programs have in common are read by what follows the prefix.
			if rest, ok := strings.CutPrefix(p.Name, prefix); ok && (has(rest) || has("tls_"+rest) || has("sasl_"+rest)) {
				return true
			}
		}
		if rest, ok := strings.CutPrefix(p.Name, "local_"); ok && has(rest) { // TransportInt and its like
			return true
		}
		if rest, ok := strings.CutPrefix(p.Name, "lmtp_lhlo_"); ok && has(rest) || ok && has("_"+rest) {
			return true
		}
		for _, q := range table {
			if q.Support == Supported && q.Name != p.Name && slices.Contains(references(q.Default), p.Name) {
				return true
			}
		}
		_, ok := byExpansion[p.Name]
		return ok
	}
	for _, p := range table {
		switch r := read(p); {
		case p.Support == Supported && !r:
			t.Errorf("%s is said to be supported, and no code reads it", p.Name)
		case p.Support != Supported && has(p.Name) && !mayBeNamed[p.Name]:
			t.Errorf("%s is said to be %s, and code names it", p.Name, p.Support)
		}
	}
}

// mayBeNamed are parameters without effect whose names stand in code for another reason.
var mayBeNamed = map[string]bool{"smtp_sasl_type": true} // postconf -A lists what it might be

// What nothing reads says why, in words that are true of every such parameter: no "not
// available" without what to do instead.
func TestReasons(t *testing.T) {
	for _, p := range table {
		if p.Support == Supported {
			continue
		}
		if p.Why == "" || strings.Contains(p.Why, "in this version") {
			t.Errorf("%s: reason %q", p.Name, p.Why)
		}
	}
}
