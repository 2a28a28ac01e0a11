package doors

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"postrider/test/doors/attempt"
)

var update = flag.Bool("update", false, "write the table in doc/security.md")

const (
	path  = "../../doc/security.md"
	begin = "<!-- table: go test ./test/doors -update, as root -->\n"
	end   = "<!-- end of table -->\n"
)

// document compares the table in doc/security.md with what was reached.
func document(t *testing.T, all, uids map[string]map[string]string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(text, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		t.Fatalf("%s: no table between %q and %q", path, begin, end)
	}
	fresh := string(before) + begin + matrix(all, uids) + end + string(after)
	if fresh == string(text) {
		return
	}
	if !*update {
		t.Fatalf("%s is stale: run go test ./test/doors -update as root; the table is now\n%s", path, matrix(all, uids))
	}
	if err := os.WriteFile(path, []byte(fresh), 0644); err != nil {
		t.Fatal(err)
	}
}

// matrix is the table of what daemons reach with all layers, and by their user ids.
func matrix(all, uids map[string]map[string]string) string {
	var b strings.Builder
	b.WriteString("| attempt | " + strings.Join(daemons, " | ") + " |\n|---" + strings.Repeat("|---", len(daemons)) + "|\n")
	group := ""
	for _, a := range attempt.All {
		if a.Group != group {
			group = a.Group
			b.WriteString("| **" + group + "** |" + strings.Repeat(" |", len(daemons)) + "\n")
		}
		fmt.Fprintf(&b, "| %s |", a.Name)
		for _, d := range daemons {
			with, without := all[d][a.Name], uids[d][a.Name]
			switch {
			case with != "":
				b.WriteString(" " + with + " |")
			case without != "":
				b.WriteString(" (" + without + ") |")
			default:
				b.WriteString(" - |")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}
