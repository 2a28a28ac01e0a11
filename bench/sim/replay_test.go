package main

import (
	"os"
	"strings"
	"testing"

	"postrider/bench/sim/recording"
)

// tenth is how near the model has to be to the queue manager that it models.
const tenth = 0.1

// The model orders and times the deliveries of three recorded workloads as
// Debian's qmgr did: no class of mail is further off than a tenth in its median
// wait, in that of its slowest tenth, or in its order.
func TestReplay(t *testing.T) {
	for _, rec := range readAll(t) {
		all := deviations(rec, observed(rec), replay(rec, newPostfix))
		var out strings.Builder
		show(&out, rec, all)
		t.Log(out.String())
		for _, d := range all {
			if !d.within(tenth) {
				t.Errorf("%s, %s: %+v", rec.Workload, d.class, d)
			}
		}
	}
}

// The comparison can fail: other rules do not pass for Postfix's.
func TestReplayTells(t *testing.T) {
	model := func(change func(*postfix, *scan)) maker {
		return func(l limits) (scheduler, deferredQueue) {
			s, later := newPostfix(l)
			change(s.(*postfix), later.(*scan))
			return s, later
		}
	}
	for name, c := range map[string]struct {
		make maker
		by   string // the workload that shows it
	}{
		"our scheduler":              {newOurs(1), "mailing"},
		"a larger window to begin":   {model(func(p *postfix, _ *scan) { p.initial = 10 }), "feedback"},
		"windows that do not grow":   {model(func(p *postfix, _ *scan) { p.window = 5 }), "feedback"},
		"a longer death":             {model(func(p *postfix, _ *scan) { p.minBackoff *= 4 }), "feedback"},
		"scans less often":           {model(func(_ *postfix, s *scan) { s.queueRun *= 2 }), "feedback"},
		"a larger active queue":      {model(func(p *postfix, _ *scan) { p.limits.active = 500 }), "turns"},
		"two slots less":             {model(func(p *postfix, _ *scan) { p.slots -= 2 }), "turns"},
		"more recipients a delivery": {model(func(p *postfix, _ *scan) { p.perDelivery = 3 }), "mailing"},
	} {
		told := false
		for _, rec := range readAll(t) {
			if rec.Workload != c.by {
				continue
			}
			for _, d := range deviations(rec, observed(rec), replay(rec, c.make)) {
				told = told || !d.within(tenth)
			}
		}
		if !told {
			t.Errorf("%s passes for Postfix in %s", name, c.by)
		}
	}
}

func readAll(t *testing.T) []*recording.Recording {
	t.Helper()
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	var all []*recording.Recording
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".json.gz") {
			rec, err := recording.Read("testdata/" + f.Name())
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, rec)
		}
	}
	if len(all) < 3 {
		t.Fatalf("%d recordings", len(all))
	}
	return all
}
