//go:build bench

package bench

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	profiled   = flag.String("profile", "", "processes to profile under load, with commas between them")
	profileDir = flag.String("profile-dir", "", "where their profiles are written")
	profileOf  = flag.String("profile-load", "kept20", "under which load: kept20, new20, large, kept200")
)

// TestProfile runs a load and takes profiles of processor time and of
// allocations meanwhile (bench/profile).
func TestProfile(t *testing.T) {
	if *profiled == "" {
		t.Skip("no -profile: see bench/profile")
	}
	sink := startCounter(t)
	s := startPostrider(t, setting{dir: scratch(t, *work), relay: sink.relay(), lines: []string{"daemon_profile = yes"}})
	l, ok := loads[*profileOf]
	if !ok {
		t.Fatalf("no load %q", *profileOf)
	}
	l.run(t, s.addr(), sink, l.n/8)
	var wg sync.WaitGroup
	end := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
				l.run(t, s.addr(), sink, l.n/3)
			}
		}
	})
	var takers sync.WaitGroup
	for name := range strings.SplitSeq(*profiled, ",") {
		for _, kind := range []string{"cpu", "allocs"} {
			takers.Go(func() {
				cmd := s.command("master", "profile", name, kind, "20")
				var errs bytes.Buffer
				cmd.Stderr = &errs
				b, err := cmd.Output()
				if err == nil {
					err = os.WriteFile(filepath.Join(*profileDir, fmt.Sprintf("%s.%s", name, kind)), b, 0644)
				}
				if err != nil {
					t.Errorf("%s %s: %v %s", name, kind, err, errs.String())
				}
			})
		}
	}
	takers.Wait()
	time.Sleep(100 * time.Millisecond)
	close(end)
	wg.Wait()
	s.stop()
}
