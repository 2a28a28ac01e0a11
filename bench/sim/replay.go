package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"postrider/bench/sim/recording"
	"postrider/lib/sched"
)

// start is the beginning of a delivery that succeeded, in milliseconds.
type start struct {
	message, recipient int // the first of it
	at                 float64
}

// replay plays the load of a recording to a scheduler and returns the starts in
// their order. What is given to it is what the recorder knew beforehand (the
// parameters, the mail and when it came, how long each delivery took and when a
// destination fails), and the order in which the queue manager read each queue's directory,
// which is the file system's. Everything else the scheduler has to find.
func replay(rec *recording.Recording, make maker) []start {
	w, numbers := recorded(rec)
	var starts []start
	w.watch = func(m *message, recipients []uint32, began, _ sched.Time, ok bool) {
		if ok {
			starts = append(starts, start{numbers[m.id-1], int(recipients[0]), float64(began) / 1e6})
		}
	}
	s, later := make(w.limits)
	simulate(w, s, later)
	inOrder(starts)
	return starts
}

func inOrder(starts []start) {
	slices.SortFunc(starts, func(a, b start) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.message, b.message), cmp.Compare(a.recipient, b.recipient))
	})
}

// recorded makes a world of a recording, and the list of its messages' numbers
// there in the order in which they arrive here.
func recorded(rec *recording.Recording) (*world, []int) {
	l := rec.Limits
	ms := func(x float64) sched.Time { return sched.Time(x * 1e6) }
	w := &world{classes: []string{""}, end: sched.Time(time.Hour), sites: make([]site, len(rec.Destinations)),
		limits: limits{slots: l.Slots, active: l.Active, initial: l.Initial, window: l.Concurrency, perDelivery: l.Recipients,
			minBackoff: l.MinBackoff, maxBackoff: l.MaxBackoff, queueRun: l.QueueRun}}
	w.limits.second = time.Duration(rec.Second * 1e6)
	type arrival struct {
		at      sched.Time
		message int
	}
	var coming []arrival
	var laid []int
	seen := map[int]bool{}
	for _, a := range rec.Admissions {
		m := &rec.Messages[a.Message]
		b := bulk{at: ms(max(m.At, 0)), created: ms(m.At), sites: sitesOf(m), deferred: m.Deferred, rank: len(seen)}
		switch {
		case seen[a.Message]:
			if w.limits.scan == 0 { // the first that was tried again shows when scans begin
				w.limits.scan = ms(math.Mod(a.At, float64(l.QueueRun.Milliseconds())))
			}
			continue
		case m.Deferred:
			laid = append(laid, a.Message)
		default:
			coming = append(coming, arrival{b.at, a.Message})
		}
		w.bulk = append(w.bulk, b)
		seen[a.Message] = true
	}
	// simulate makes those of the deferred queue first, and the others as they arrive.
	slices.SortStableFunc(coming, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	numbers := laid
	for _, a := range coming {
		numbers = append(numbers, a.message)
	}
	took := map[[3]int]float64{}
	for _, d := range rec.Deliveries {
		if !d.Failed {
			took[[3]int{d.Site, d.Message, d.First}] = d.End - d.Start
		}
	}
	w.service = func(n int32, id, recipient uint32, now sched.Time) (time.Duration, bool) {
		d := &rec.Destinations[n]
		if at := float64(now) / 1e6; d.Fails(at) {
			return time.Duration((d.FailTook + rec.Turnaround) * 1e6), false
		}
		number := numbers[id-1]
		ms, ok := took[[3]int{int(n), number, int(recipient)}]
		if !ok { // another scheduler made other deliveries of it
			ms = rec.Varied(int(n), number, int(recipient))
		}
		return time.Duration((ms + rec.Turnaround) * 1e6), true
	}
	return w, numbers
}

// sitesOf returns a message's destinations. Postfix orders recipients by next
// hop and then by address before it makes deliveries of them.
func sitesOf(m *recording.Message) []int32 {
	sites := make([]int32, len(m.Sites))
	for i, s := range m.Sites {
		sites[i] = int32(s)
	}
	return sites
}

// observed returns what the far end saw, as replay does.
func observed(rec *recording.Recording) []start {
	var starts []start
	for _, d := range rec.Deliveries {
		if !d.Failed {
			starts = append(starts, start{d.Message, d.First, d.Start})
		}
	}
	inOrder(starts)
	return starts
}

// deviation is how far a replay is from its recording, in one class of mail:
// times are starts of deliveries, as parts of the whole.
type deviation struct {
	class          string
	n              int
	real, model    [2]float64 // median and 90 % of the waits, in ms
	order          float64    // mean difference of ranks, as part of all
	missing, extra int
}

// within says whether a deviation is small: one part of all in order and in
// times, or (for waits that are short) of the whole time.
func (d deviation) within(part float64) bool {
	ok := d.missing == 0 && d.extra == 0 && d.order <= part
	for i := range d.real {
		ok = ok && math.Abs(d.model[i]-d.real[i]) <= max(part*d.real[i], shortest)
	}
	return ok
}

// shortest is a difference in milliseconds that is not looked at: the noise of
// a machine that starts processes.
const shortest = 60

// deviations compares two lists of starts of one recording, by class.
func deviations(rec *recording.Recording, real, model []start) []deviation {
	type key struct{ message, recipient int }
	ranks := map[key]int{}
	at := map[key]float64{}
	for i, s := range model {
		ranks[key{s.message, s.recipient}] = i
		at[key{s.message, s.recipient}] = s.at
	}
	since := map[int]float64{} // when a message came
	for i, m := range rec.Messages {
		since[i] = max(m.At, 0)
	}
	var all []deviation
	byClass := map[string]*struct {
		deviation
		real, model []float64
	}{}
	var classes []string
	for i, s := range real {
		class := rec.Messages[s.message].Class
		c := byClass[class]
		if c == nil {
			c = &struct {
				deviation
				real, model []float64
			}{deviation: deviation{class: class}}
			byClass[class] = c
			classes = append(classes, class)
		}
		k := key{s.message, s.recipient}
		rank, ok := ranks[k]
		if !ok {
			c.missing++
			continue
		}
		c.n++
		c.order += math.Abs(float64(rank-i)) / float64(len(real))
		c.real = append(c.real, s.at-since[s.message])
		c.model = append(c.model, at[k]-since[s.message])
		delete(ranks, k)
	}
	for _, class := range classes {
		c := byClass[class]
		slices.Sort(c.real)
		slices.Sort(c.model)
		for i, p := range []float64{0.5, 0.9} {
			c.deviation.real[i], c.deviation.model[i] = c.real[int(p*float64(c.n-1))], c.model[int(p*float64(c.n-1))]
		}
		c.order /= float64(c.n)
		c.extra = len(ranks)
		all = append(all, c.deviation)
	}
	return all
}

// show writes a recording's deviations.
func show(w io.Writer, rec *recording.Recording, all []deviation) {
	fmt.Fprintf(w, "%s: %s\nPostfix %s, %d deliveries\n", rec.Workload, rec.About, rec.Postfix, len(rec.Deliveries))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "class\tdeliveries\twait, median (s)\tmodel\twait, 90 % (s)\tmodel\tdifference of ranks")
	for _, d := range all {
		fmt.Fprintf(t, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f %%\n", d.class, d.n,
			d.real[0]/1000, d.model[0]/1000, d.real[1]/1000, d.model[1]/1000, 100*d.order)
	}
	t.Flush()
}
