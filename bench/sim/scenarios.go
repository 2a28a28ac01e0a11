package main

import (
	"math/rand/v2"
	"time"

	"postrider/lib/sched"
)

// scenario is a load that shows one thing; (a) to (e) are those that Postfix's
// algorithm finds hard.
type scenario struct {
	name, about string
	make        func(seed uint64, scale float64) *world
}

var scenarios = []scenario{
	{"day", "a day of 5,000 destinations and a million messages; 2 % slow, 2 % down for hours, 2 % black holes", day},
	{"a", "one destination has 90 % of the queue, 100,000 messages from the beginning on, and is down", downGiant},
	{"b", "mailings of 100,000 recipients, over all destinations and to one, beside single messages, some of them for that one", mailing},
	{"c", "a destination comes back after four hours with 50,000 waiting", comeback},
	{"d", "a slow destination gets four times what it can take, for four hours", slowSite},
	{"e", "4,000 black holes beside 1,000 healthy destinations", holes},
}

// begin returns a world whose sites all work. A part of a scenario has a part of
// the active queue, so that it fills up as it would in the whole.
func begin(seed uint64, scale float64, hours float64, n int, classes ...string) *world {
	w := &world{seed: seed, limits: defaults, classes: classes, sites: make([]site, n), end: sched.Time(hours * scale * float64(time.Hour))}
	w.limits.active = max(int(float64(w.limits.active)*min(scale, 1)), 500)
	for i := range w.sites {
		w.sites[i] = site{took: 500 * time.Millisecond, timeout: 30 * time.Second}
	}
	return w
}

// mail adds a stream until shortly before the end.
func (w *world) mail(class int, rate float64, pick func(*rand.Rand) int32) *stream {
	w.streams = append(w.streams, stream{class: class, rate: rate, to: w.end / 10 * 9, pick: pick,
		chance: rand.New(rand.NewPCG(w.seed, uint64(len(w.streams))))})
	return &w.streams[len(w.streams)-1]
}

func day(seed uint64, scale float64) *world {
	w := begin(seed, scale, 24, 5000, "healthy", "slow", "down", "black hole")
	for i := range 300 {
		s := &w.sites[4700+i]
		switch {
		case i < 100:
			s.took = 10 * time.Second
		case i < 200:
			s.from = w.end / 10 * sched.Time(i%5)
			s.to = s.from + w.end/6
		default:
			s.hole = true
		}
	}
	const perSecond = 1e6 / (24 * 3600 * 0.9)
	w.mail(0, perSecond*0.94, zipf(0, 4700)).daily = true
	w.mail(1, perSecond*0.02, even(4700, 100)).daily = true
	w.mail(2, perSecond*0.02, even(4800, 100)).daily = true
	w.mail(3, perSecond*0.02, even(4900, 100)).daily = true
	return w
}

func downGiant(seed uint64, scale float64) *world {
	w := begin(seed, scale, 3, 1001, "healthy", "giant")
	w.sites[0].to = w.end / 10 * 9
	w.mail(0, 4, zipf(1, 1000))
	w.mail(1, 36, even(0, 1))
	for range int(100000 * min(scale, 1)) {
		w.bulk = append(w.bulk, bulk{class: 1, deferred: true, sites: []int32{0}})
	}
	return w
}

func mailing(seed uint64, scale float64) *world {
	w := begin(seed, scale, 1, 5000, "single", "single, that domain", "mailing", "one domain")
	w.mail(0, 20, zipf(1, 4999))
	w.mail(1, 2, even(0, 1))
	r, pick := rand.New(rand.NewPCG(seed, 99)), zipf(0, 5000)
	n := int(100000 * min(scale, 1))
	all, one := bulk{class: 2, at: w.end / 5}, bulk{class: 3, at: w.end / 2}
	for range n {
		all.sites = append(all.sites, pick(r))
		one.sites = append(one.sites, 0)
	}
	w.bulk = []bulk{all, one}
	return w
}

func comeback(seed uint64, scale float64) *world {
	w := begin(seed, scale, 6, 1001, "healthy", "returned")
	w.sites[0].to = w.end / 3 * 2
	w.mail(0, 10, zipf(1, 1000))
	w.mail(1, 50000/float64(4*3600), even(0, 1)).to = w.sites[0].to
	return w
}

func slowSite(seed uint64, scale float64) *world {
	w := begin(seed, scale, 4, 1001, "healthy", "slow")
	w.sites[0].took = 30 * time.Second
	w.mail(0, 20, zipf(1, 1000))
	w.mail(1, 2.7, even(0, 1))
	return w
}

func holes(seed uint64, scale float64) *world {
	w := begin(seed, scale, 3, 5000, "healthy", "rare healthy", "black hole")
	for i := range 4000 {
		w.sites[1000+i].hole = true
	}
	w.mail(0, 10, even(0, 100))
	w.mail(1, 0.1, even(100, 900))
	w.mail(2, 4, even(1000, 4000))
	return w
}
