// Package commands tests what is the same for all commands.
package commands

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"postrider/test/instance"
)

// commands are those of cmd/ that people run, and the names that are links.
func commands(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("../../cmd")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"master"} // which is installed as postrider
	for _, e := range entries {
		if e.Name() != "master" && e.Name() != "proxymap" { // which master starts
			names = append(names, e.Name())
		}
	}
	return names
}

// run runs a program with an empty standard input, and no configuration.
func run(t *testing.T, program string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(instance.Programs(t), program), args...)
	cmd.Env = []string{"MAIL_CONFIG=/nonexistent"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%s %v does not end", program, args)
	}
	return out.String(), errs.String(), err
}

// --help is one screen for every command, on standard output; an option that is not
// there is one clear line on standard error, and an exit code.
func TestHelp(t *testing.T) {
	for _, name := range commands(t) {
		if name == "postdrop" { // set-gid, and not for people: it has a manual page
			continue
		}
		out, errs, err := run(t, name, "--help")
		if err != nil || errs != "" {
			t.Errorf("%s --help: %v %s", name, err, errs)
		}
		if n := strings.Count(out, "\n"); n < 5 || n > 36 {
			t.Errorf("%s --help has %d lines", name, n)
		}
		for line := range strings.Lines(out) {
			if utf8.RuneCountInString(line) > 81 {
				t.Errorf("%s --help: a line of %d columns: %s", name, len(line)-1, line)
			}
		}
	}
	for _, name := range commands(t) {
		out, errs, err := run(t, name, "--nosuch-option")
		if err == nil || out != "" || strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, name+": ") {
			t.Errorf("%s --nosuch-option: %v\n%s%s", name, err, out, errs)
		}
	}
}
