package calls

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/test/instance"
)

// Environment variables of a campaign; see the comment of the package.
const (
	envLimit = "POSTRIDER_CALLS_LIMIT"
	envSeed  = "POSTRIDER_CALLS_SEED"
	envOnly  = "POSTRIDER_CALLS_ONLY"
)

// systems are how many work at once.
const systems = 2

// campaign is all the plans that there are for what a system was seen to do.
type campaign struct {
	t     *testing.T
	begun time.Time
	limit time.Duration
	seed  int

	mu    sync.Mutex
	plans []variant // in the order in which they are tried
	tried int
	met   map[site]int
}

// variant makes a plan for one rig, and says how many deliveries it may repeat.
type variant struct {
	site       site
	what       string
	make       func(*rig) *plan
	duplicates int
}

// run counts the calls of a quiet cycle, has variants made for each, and tries them on
// several systems until all were tried or time is over.
func run(t *testing.T, variants func(s site, k int) []variant) {
	if os.Geteuid() != 0 {
		t.Skip("looking into the daemons needs root")
	}
	c := &campaign{t: t, seed: int(instance.Seed(t, envSeed)), met: map[site]int{}}
	c.limit = time.Duration(instance.Number(t, envLimit, 4)) * time.Second
	counts := quiet(t)
	c.schedule(counts, variants)
	c.begun = time.Now()
	t.Run("systems", func(t *testing.T) {
		for n := range systems {
			t.Run(strconv.Itoa(n), func(t *testing.T) { t.Parallel(); c.work(t) })
		}
	})
	runs := 0
	for _, n := range c.met {
		runs += n
	}
	t.Logf("%s=%d: %d of %d plans tried in %v, %d met their call, at %d of %d sites", envSeed, c.seed, c.tried, len(c.plans),
		time.Since(c.begun).Round(time.Second), runs, len(c.met), len(counts))
	if runs == 0 {
		t.Error("nothing was met")
	}
}

// quiet counts the calls of cycles without faults: an even and an odd one, and those
// between which files come to their end.
func quiet(t *testing.T) map[site]int {
	r := newRig(t)
	r.up()
	most := map[site]int{}
	for range 8 {
		if _, err := r.turn(nil, 0); err != nil {
			t.Fatalf("without a fault: %v", err)
		}
		for s, n := range r.counted() {
			most[s] = max(most[s], n)
		}
	}
	r.Kill()
	return most
}

// schedule puts all variants in an order in which each site has its turn, and a call of
// any number.
func (c *campaign) schedule(counts map[site]int, variants func(site, int) []variant) {
	random := rand.New(rand.NewPCG(uint64(c.seed), 3))
	var sites []site
	for s := range counts {
		if strings.Contains(s.String(), os.Getenv(envOnly)) {
			sites = append(sites, s)
		}
	}
	slices.SortFunc(sites, func(a, b site) int { return cmp.Compare(a.String(), b.String()) })
	random.Shuffle(len(sites), func(i, j int) { sites[i], sites[j] = sites[j], sites[i] })
	var each [][]variant
	for _, s := range sites {
		var all []variant
		for k := 1; k <= counts[s]; k++ {
			all = append(all, variants(s, k)...)
		}
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		each = append(each, all)
	}
	for n := 0; ; n++ {
		before := len(c.plans)
		for _, all := range each {
			if n < len(all) {
				c.plans = append(c.plans, all[n])
			}
		}
		if len(c.plans) == before {
			return
		}
	}
}

// next gives the next variant, or false.
func (c *campaign) next() (v variant, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tried == len(c.plans) || time.Since(c.begun) > c.limit || c.t.Failed() {
		return v, false
	}
	c.tried++
	return c.plans[c.tried-1], true
}

// work tries variants on one system.
func (c *campaign) work(t *testing.T) {
	r := newRig(t)
	r.up()
	for {
		v, ok := c.next()
		if !ok {
			return
		}
		r.said = fmt.Sprintf("%s=%d, %v %s", envSeed, c.seed, v.site, v.what)
		met, err := r.turn(v.make(r), v.duplicates)
		if err != nil {
			t.Fatalf("%s: %v", r.said, err)
		}
		if met {
			c.mu.Lock()
			c.met[v.site]++
			c.mu.Unlock()
		}
	}
}
