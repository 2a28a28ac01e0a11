package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postrider/lib/config"
	"postrider/lib/manual"
)

func all(t *testing.T) map[string]manual.Page {
	t.Helper()
	list, err := pages("../..")
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]manual.Page{}
	for _, p := range list {
		for _, name := range append(p.Aliases, p.Name) {
			key := fmt.Sprintf("%s(%d)", name, p.Section)
			if _, twice := m[key]; twice {
				t.Errorf("two pages %s", key)
			}
			m[key] = p
		}
	}
	return m
}

// Every command, daemon and file has a page, every option and parameter a line with
// some help in it, and what pages refer to exists.
func TestComplete(t *testing.T) {
	m := all(t)
	commands, err := os.ReadDir("../../cmd")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"postrider(1)", "mailq(1)", "newaliases(1)", "main.cf(5)", "master.cf(5)", "aliases(5)", "postalias(1)"}
	for _, c := range commands {
		if c.Name() != "master" && c.Name() != "proxymap" {
			want = append(want, c.Name()+"(1)")
		}
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(makefile), "\nDAEMONS")
	line, _, _ = strings.Cut(line, "\n")
	for _, d := range append(strings.Fields(line)[1:], "proxymap", "master") {
		want = append(want, d+"(8)")
	}
	if len(want) < 18 {
		t.Errorf("commands and daemons: %q", want)
	}
	for _, w := range want {
		if _, ok := m[w]; !ok {
			t.Errorf("no manual page %s: write a Manual() and name it in pages.go", w)
		}
	}
	for key, p := range m {
		if p.Summary == "" || p.Text == "" {
			t.Errorf("%s says nothing", key)
		}
		for _, s := range p.See {
			if _, ok := m[s]; !ok && !strings.HasSuffix(s, "(3)") && !strings.HasSuffix(s, "(7)") {
				t.Errorf("%s: there is no %s", key, s)
			}
		}
		items := p.Options
		for _, s := range p.More {
			items = append(items, s.Items...)
		}
		for _, i := range items {
			if strings.TrimSpace(i.Text) == "" || i.Term == "" {
				t.Errorf("%s: no help for %q", key, i.Term)
			}
		}
	}
	terms := map[string]bool{}
	for _, s := range m["postconf(5)"].More {
		for _, i := range s.Items {
			name, _, _ := strings.Cut(i.Term, " ")
			terms[name] = true
		}
	}
	for _, p := range config.Params() {
		if !terms[p.Name] {
			t.Errorf("%s is not in postconf(5)", p.Name)
		}
	}
}

// Each daemon's page has the parameters that it reads.
func TestReads(t *testing.T) {
	for daemon, names := range map[string][]string{
		"smtp":  {"smtp_helo_timeout", "smtp_mx_address_limit"},
		"lmtp":  {"lmtp_lhlo_timeout", "lmtp_mx_address_limit"},
		"smtpd": {"smtpd_banner", "smtpd_hard_error_limit", "message_size_limit"},
		"qmgr":  {"minimal_backoff_time", "default_destination_concurrency_limit", "transport_maps"},
		"local": {"alias_maps", "home_mailbox"},
	} {
		got, err := reads("../..", daemon)
		if err != nil {
			t.Fatal(err)
		}
		all := " " + strings.Join(got, " ") + " "
		for _, n := range names {
			if !strings.Contains(all, " "+n+" ") {
				t.Errorf("%s does not read %s? %s", daemon, n, all)
			}
		}
		if strings.Contains(all, " qmgr_message_active_limit ") && daemon != "qmgr" {
			t.Errorf("%s reads everything: %s", daemon, all)
		}
	}
}

// The pages are what man(1) and mandoc(1) expect (Debian: man-db, mandoc).
func TestLint(t *testing.T) {
	for _, tool := range []string{"man", "mandoc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s (Debian: man-db, mandoc)", tool)
		}
	}
	dir := t.TempDir()
	if err := os.Chdir("../.."); err != nil { // write reads the sources
		t.Fatal(err)
	}
	defer os.Chdir("doc/manual")
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(dir + "/*")
	for _, f := range files {
		if text, _ := os.ReadFile(f); bytes.HasPrefix(text, []byte(".so ")) {
			continue
		}
		man := exec.Command("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", f)
		man.Env = append(os.Environ(), "MANWIDTH=80", "MANROFFSEQ=", "LC_ALL=C.UTF-8")
		var complaints bytes.Buffer
		man.Stderr = &complaints
		if err := man.Run(); err != nil || complaints.Len() > 0 {
			t.Errorf("man --warnings %s: %v\n%s", filepath.Base(f), err, complaints.String())
		}
		out, _ := exec.Command("mandoc", "-Tlint", "-W", "warning", f).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if !strings.Contains(line, "missing date") {
				t.Errorf("mandoc: %s", line)
			}
		}
	}
}
