//go:build scale

package scale

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// reportFile is where the rows go; POSTRIDER_SCALE_OUT names another.
var reportFile = cmp.Or(os.Getenv("POSTRIDER_SCALE_OUT"), "../../bench/SCALE.md")

const (
	reportHead = `# At scale

Written by ` + "`make scale`" + ` (test/scale, which says how each is done): the built programs, a million
messages that wait, ten thousand destinations that do not answer. Times of a message run from the moment
it is to be sent by SMTP until the sink has it whole. A run of one test replaces its rows.

| what | asked | measured | | run |
|---|---|---|---|---|
`
)

// commit is what was checked out when the first row was written.
var commit = sync.OnceValue(func() string {
	b, _ := exec.Command("git", "describe", "--always", "--dirty").Output()
	return strings.TrimSpace(string(b))
})

// record writes a row, in the place of an earlier one of that name. A figure that is
// not what was asked fails the test.
func record(t *testing.T, what, asked string, ok bool, format string, a ...any) {
	t.Helper()
	measured := fmt.Sprintf(format, a...)
	verdict := "yes"
	if !ok {
		verdict = "**no**"
		t.Errorf("%s: asked %s: measured %s", what, asked, measured)
	} else {
		t.Logf("%s: asked %s: measured %s", what, asked, measured)
	}
	if os.Getenv("POSTRIDER_SCALE") != "" {
		return // a small run, to see whether the test works
	}
	row := fmt.Sprintf("| %s | %s | %s | %s | %s, %s, %d processors |", what, asked, measured, verdict,
		time.Now().UTC().Format(time.DateOnly), commit(), runtime.NumCPU())
	b, _ := os.ReadFile(reportFile)
	_, old, _ := strings.Cut(string(b), "|---|---|---|---|---|\n")
	var rows []string
	found := false
	for l := range strings.Lines(old) {
		if strings.HasPrefix(l, "| "+what+" |") {
			l, found = row+"\n", true
		}
		rows = append(rows, l)
	}
	if !found {
		rows = append(rows, row+"\n")
	}
	if err := os.WriteFile(reportFile, []byte(reportHead+strings.Join(rows, "")), 0o644); err != nil {
		t.Fatal(err)
	}
}
