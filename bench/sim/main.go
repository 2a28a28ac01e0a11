// Command sim plays traffic against the scheduler (lib/sched) and, beside it,
// against a model of Postfix's published algorithm under the same load, in
// simulated time: a day in seconds, the same for the same seed. It prints for
// each class of mail the delay (median and 99 %), what starved, attempts that
// failed, and fairness among destinations, and says in which rows ours is worse.
//
//	go run ./bench/sim [-seed N] [-scale X] [-only day,a,b,c,d,e]
//
// The model follows SCHEDULER_README and the behaviour that was read from the
// source; it was not yet compared with recordings of the real qmgr, so its
// figures show what the algorithm does and are no measurement of Postfix.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

type options struct {
	Seed  uint64   `default:"1" help:"Seed of all chance."`
	Scale float64  `default:"1" help:"Part of the time that each scenario plays."`
	Only  []string `help:"Scenarios to play: day, a, b, c, d, e."`
}

func main() {
	var o options
	kong.Parse(&o, kong.Description("Plays traffic against the scheduler and a model of Postfix's."))
	if err := play(os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
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
		var results [2]*result
		var took [2]time.Duration
		for i, make := range []maker{newOurs(o.Seed), newPostfix} {
			begin := time.Now()
			sch, later := make(world.limits)
			results[i] = simulate(world, sch, later)
			took[i] = time.Since(begin)
		}
		fmt.Fprintf(w, "%s: %s\n%d messages, %d recipients, in %v of simulated time\n",
			s.name, s.about, results[0].messages, results[0].recipients, world.end.Sub(0).Round(time.Second))
		worse += compare(w, world, results[0], results[1])
		fmt.Fprintln(w)
		if o.Scale == 1 {
			fmt.Fprintf(os.Stderr, "%s: ours took %.1fs to play, the model %.1fs\n", s.name, took[0].Seconds(), took[1].Seconds())
		}
	}
	if worse == 0 {
		fmt.Fprintln(w, "Ours is no worse than the model in any row.")
	} else {
		fmt.Fprintf(w, "Ours is worse than the model in %d rows.\n", worse)
	}
	return nil
}
