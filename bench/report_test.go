//go:build bench

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// table is one of RESULTS.md.
type table struct {
	title, note string
	head        []string
	rows        [][]string
}

var (
	reportMu sync.Mutex
	tables   []*table
	figures  = &table{title: "Figures of issue 5", head: []string{"figure", "asked", "measured", "reached"}}
	failures []string
)

func newTable(title, note string, head ...string) *table {
	t := &table{title: title, note: note, head: head}
	reportMu.Lock()
	tables = append(tables, t)
	reportMu.Unlock()
	return t
}

func (t *table) row(cells ...any) {
	var r []string
	for _, c := range cells {
		switch v := c.(type) {
		case float64:
			r = append(r, number(v))
		default:
			r = append(r, fmt.Sprint(v))
		}
	}
	reportMu.Lock()
	t.rows = append(t.rows, r)
	reportMu.Unlock()
	fmt.Fprintln(os.Stderr, strings.Join(r, " | "))
}

// figure enters one that issue 5 asks for.
func figure(what, asked string, measured float64, unit string, reached bool) {
	answer := "yes"
	if !reached {
		answer = "**no**"
	}
	figures.row(what, asked, number(measured)+unit, answer)
}

// number is v with about three digits.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	case v < 0.1 && v > -0.1:
		return fmt.Sprintf("%.3f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func (t *table) write(b *strings.Builder) {
	if len(t.rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n", t.title)
	if t.note != "" {
		fmt.Fprintf(b, "%s\n\n", t.note)
	}
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(t.head, " | "), strings.Repeat("---|", len(t.head)))
	for _, r := range t.rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(r, " | "))
	}
}

// report is the text of RESULTS.md.
func report(before, after string, failed bool) string {
	var b strings.Builder
	command, what := "make bench", "the quick part"
	if *all {
		command, what = "make bench-all", "everything"
	}
	fmt.Fprintf(&b, `# Measured

By %s%s%s (%s, %d rounds in turns) on %s, commit %s.
%d processors (%s), %s, %s of memory, %s, %s below %s; load average %s before, %s at the end.

- messages/s: from the start of smtp-source until smtp-sink has counted the last one; the median of the rounds, and their range. accepted/s: until smtp-source has its last reply.
- floor: smtp-source straight into smtp-sink -c, in every round. Ratios are of medians.
- processor time: user and system, of all processes of the system, in microseconds a message.
- latency: from the end of DATA to arrival at the sink, while the load runs, measured with test/source and test/sink, whose ledger found every message once and whole.
- syncs: fsync, fdatasync and their like, a message; memory: the sum of proportional set sizes, its peak.
`, "`", command, "`", what, *rounds, time.Now().UTC().Format("2006-01-02"), out("git", "rev-parse", "--short", "HEAD"),
		runtime.NumCPU(), processor(), "Linux "+out("uname", "-r"), memory(), runtime.Version(), fileSystem(*work), *work, before, after)
	for _, k := range append(kinds[:len(kinds):len(kinds)], others...) {
		if k.missing() {
			fmt.Fprintf(&b, "- %s is not installed here and was left out.\n", k.name)
		}
	}
	if busy, _ := strconv.ParseFloat(before, 64); busy > float64(runtime.NumCPU())/2 {
		fmt.Fprintf(&b, "\n**The machine was busy with other work**: processor times and counts hold, rates and latencies do not.\n")
	}
	if failed {
		fmt.Fprintf(&b, "\n**The run FAILED**: %s\n", strings.Join(failures, "; "))
	}
	figures.write(&b)
	for _, t := range tables {
		t.write(&b)
	}
	return b.String()
}

func out(name string, args ...string) string {
	b, err := exec.Command(name, args...).Output()
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(b))
}

func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	_, after, _ := strings.Cut(string(b), "model name\t: ")
	name, _, _ := strings.Cut(after, "\n")
	return name
}

func memory() string {
	b, _ := os.ReadFile("/proc/meminfo")
	var kb float64
	fmt.Sscanf(string(b), "MemTotal: %g", &kb)
	return fmt.Sprintf("%.0f GB", kb/1e6)
}

// fileSystem is the type of the one that dir is on.
func fileSystem(dir string) string {
	f := strings.Fields(out("df", "--output=fstype", dir))
	return f[len(f)-1]
}
