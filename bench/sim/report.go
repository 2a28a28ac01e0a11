package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"postrider/lib/sched"
)

// late is after how long a recipient counts as starved.
const late = 15 * time.Minute

// timely is within how long a recipient counts as served in time.
const timely = time.Minute

// result is what one scheduler made of a world, by class. A delay counts from
// when the message could have been delivered: from its arrival, or when its
// destination was down then, from its return.
type result struct {
	messages, recipients int
	done                 []int
	delays               [][]float32 // seconds; of what was not delivered as long as the world lasted
	starved, wasted      []int
	sites                [][]served // by class and destination
}

// served counts a destination's mail, and that which was delivered in time.
type served struct{ timely, all int }

func newResult(w *world) *result {
	n := len(w.classes)
	r := &result{done: make([]int, n), delays: make([][]float32, n), starved: make([]int, n), wasted: make([]int, n), sites: make([][]served, n)}
	for i := range r.sites {
		r.sites[i] = make([]served, len(w.sites))
	}
	return r
}

func (r *result) delivered(m *message, recipient uint32, now sched.Time, w *world) {
	site := m.sites[recipient]
	since, _ := w.sites[site].since(m.at, w.end)
	if now < since { // under way when the destination went down
		since = m.at
	}
	delay := now.Sub(since)
	r.done[m.class]++
	r.delays[m.class] = append(r.delays[m.class], float32(delay.Seconds()))
	if delay > late {
		r.starved[m.class]++
	}
	s := &r.sites[m.class][site]
	s.all++
	if delay <= timely {
		s.timely++
	}
}

// left counts a recipient that was not delivered in time.
func (r *result) left(m *message, recipient uint32, w *world) {
	site := m.sites[recipient]
	since, ok := w.sites[site].since(m.at, w.end)
	if !ok {
		return
	}
	waits := max(w.end.Sub(since), 0)
	r.delays[m.class] = append(r.delays[m.class], float32(waits.Seconds()))
	if waits > timely {
		r.sites[m.class][site].all++
		if waits > late {
			r.starved[m.class]++
		}
	}
}

// jain returns Jain's index of the parts of their mail that a class's
// destinations get in time: 1 when all are served alike, 1/n when one of n is
// served alone, and 0 when none is.
func (r *result) jain(class int) float64 {
	sum, squares, n := 0.0, 0.0, 0
	for _, s := range r.sites[class] {
		if s.all > 0 {
			x := float64(s.timely) / float64(s.all)
			sum, squares, n = sum+x, squares+x*x, n+1
		}
	}
	if n == 0 {
		return math.NaN()
	}
	if sum == 0 {
		return 0
	}
	return sum * sum / (float64(n) * squares)
}

// quantile returns the delay that the part p of a class does not exceed.
func (r *result) quantile(class int, p float64) float64 {
	d := r.delays[class]
	if len(d) == 0 {
		return math.NaN()
	}
	slices.Sort(d)
	return float64(d[int(p*float64(len(d)-1))])
}

// figure is a row of the table. Ours is worse when it is beyond the other by
// more than slack and more than noise, which is a part of it.
type figure struct {
	name   string
	of     func(r *result, class int) float64
	more   bool // is better
	slack  float64
	format string
}

var figures = []figure{
	{"delivered", func(r *result, c int) float64 { return float64(r.done[c]) }, true, 2, "%.0f"},
	{"delay, median (s)", func(r *result, c int) float64 { return r.quantile(c, 0.5) }, false, 0.01, "%.2f"},
	{"delay, 99 % (s)", func(r *result, c int) float64 { return r.quantile(c, 0.99) }, false, 0.05, "%.2f"},
	{"delay, worst (s)", func(r *result, c int) float64 { return r.quantile(c, 1) }, false, 1, "%.2f"},
	{"starved (> 15 min)", func(r *result, c int) float64 { return float64(r.starved[c]) }, false, 2, "%.0f"},
	{"wasted attempts", func(r *result, c int) float64 { return float64(r.wasted[c]) }, false, 5, "%.0f"},
	{"Jain index, 60 s", (*result).jain, true, 0.01, "%.3f"},
}

// noise is what the tables do not look at; part of a day has more of it.
const noise, partNoise = 0.02, 0.2

// compare writes the table and returns in how many rows ours is worse.
func compare(w io.Writer, world *world, ours, model *result, noise float64) int {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "class\tfigure\tours\tmodel\t")
	worse := 0
	for c, name := range world.classes {
		for _, f := range figures {
			a, b := f.of(ours, c), f.of(model, c)
			if math.IsNaN(a) && math.IsNaN(b) {
				continue
			}
			verdict := ""
			switch by := b - a; {
			case math.IsNaN(by): // one delivered nothing: the first row says it
			case math.Abs(by) <= f.slack || math.Abs(by) <= noise*math.Abs(b):
			case (by < 0) == f.more:
				verdict = "better"
			default:
				verdict = "worse"
				worse++
			}
			fmt.Fprintf(t, "%s\t%s\t"+f.format+"\t"+f.format+"\t%s\n", name, f.name, a, b, verdict)
		}
	}
	t.Flush()
	return worse
}
