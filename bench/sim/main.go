// Command sim plays traffic against the scheduler (lib/sched) and, beside it,
// against a model of Postfix's published algorithm under the same load, in
// simulated time: a day in seconds, the same for the same seed. It prints for
// each class of mail the delay (median, 99 % and worst), what starved, attempts
// that failed, and fairness among destinations, and says in which rows ours is worse.
//
//	go run ./bench/sim [--seed N] [--scale X] [--only day,a,b,c,d,e] [--recordings DIR]
//
// That the model is Postfix is shown by recordings of Debian's qmgr (testdata,
// made by bench/sim/record): given the same mail and the same destinations, it
// orders and times the deliveries as that did, within a tenth. The first tables
// say how near. `make sim` writes all into bench/SIM.md.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"postrider/bench/sim/recording"
)

type options struct {
	Seed       uint64   `default:"1" help:"Seed of all chance."`
	Scale      float64  `default:"1" help:"Part of the time that each scenario plays."`
	Only       []string `help:"Scenarios to play: day, a, b, c, d, e."`
	Recordings string   `help:"Folder with recordings of the real queue manager, to compare the model with."`
}

func main() {
	var o options
	kong.Parse(&o, kong.Description("Plays traffic against the scheduler and a model of Postfix's."))
	err := compareAll(os.Stdout, o.Recordings)
	if err == nil {
		err = play(os.Stdout, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

// compareAll writes how near the model is to each recording of a folder.
func compareAll(w io.Writer, folder string) error {
	if folder == "" {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.json.gz"))
	if err != nil {
		return err
	}
	for _, file := range files {
		rec, err := recording.Read(file)
		if err != nil {
			return err
		}
		show(w, rec, deviations(rec, observed(rec), replay(rec, newPostfix)))
		fmt.Fprintln(w)
	}
	return nil
}

// play plays the chosen scenarios and writes the tables.
func play(w io.Writer, o options) error {
	chosen := scenarios
	if len(o.Only) > 0 {
		chosen = nil
		for _, s := range scenarios {
			for _, name := range o.Only {
				if name == s.name {
					chosen = append(chosen, s)
				}
			}
		}
		if len(chosen) != len(o.Only) {
			return fmt.Errorf("no such scenario among %s", strings.Join(o.Only, ", "))
		}
	}
	worse := 0
	for _, s := range chosen {
		world := s.make(o.Seed, o.Scale)
		begin := time.Now()
		ours, model := both(world, o.Seed)
		fmt.Fprintf(w, "%s: %s\n%d messages, %d recipients, in %v of simulated time\n",
			s.name, s.about, ours.messages, ours.recipients, world.end.Sub(0).Round(time.Second))
		worse += compare(w, world, ours, model, noise)
		fmt.Fprintln(w)
		if o.Scale == 1 {
			fmt.Fprintf(os.Stderr, "%s: both took %.1fs to play\n", s.name, time.Since(begin).Seconds())
		}
	}
	if worse == 0 {
		fmt.Fprintln(w, "Ours is no worse than the model in any row.")
	} else {
		fmt.Fprintf(w, "Ours is worse than the model in %d rows.\n", worse)
	}
	return nil
}

// both plays a world to our scheduler and to the model.
func both(w *world, seed uint64) (ours, model *result) {
	s, later := newOurs(seed)(w.limits)
	ours = simulate(w, s, later)
	s, later = newPostfix(w.limits)
	return ours, simulate(w, s, later)
}
