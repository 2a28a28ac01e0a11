// Command record writes down what Debian's queue manager does with three known
// loads, as the measure of the model in bench/sim. It starts Postfix on
// loopback with a spool of its own, a sink whose reply times are known beforehand
// for each destination, sends mail in, and notes each admission (from the log)
// and each delivery (at the sink). It needs root, Debian's postfix package, and
// a machine that does little else for the three minutes it takes:
//
//	go run ./bench/sim/record [--out bench/sim/testdata] [--only mailing,feedback,turns]
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/alecthomas/kong"
)

type options struct {
	Out  string   `default:"bench/sim/testdata" help:"Folder for the recordings."`
	Only []string `help:"Workloads to record."`
}

func main() {
	var o options
	kong.Parse(&o, kong.Description("Records what Debian's queue manager does with three known loads."))
	for _, w := range workloads {
		if len(o.Only) > 0 && !slices.Contains(o.Only, w.Workload) {
			continue
		}
		r := w.Recording
		if err := record(&r, w.load); err != nil {
			fmt.Fprintf(os.Stderr, "record: %s: %v\n", w.Workload, err)
			os.Exit(1)
		}
		path := filepath.Join(o.Out, w.Workload+".json.gz")
		if err := r.Write(path); err != nil {
			fmt.Fprintln(os.Stderr, "record:", err)
			os.Exit(1)
		}
		fmt.Printf("%s: %d messages, %d admissions, %d deliveries, turnaround %.1f ms\n", path,
			len(r.Messages), len(r.Admissions), len(r.Deliveries), r.Turnaround)
	}
}
