package main

import (
	"os"
	"testing"

	"postrider/bench/sim/recording"
)

func TestReplay(t *testing.T) {
	for _, name := range []string{"mailing", "feedback", "turns"} {
		rec, err := recording.Read("testdata/" + name + ".json.gz")
		if err != nil {
			t.Fatal(err)
		}
		all := deviations(rec, observed(rec), replay(rec, newPostfix))
		show(os.Stdout, rec, all)
	}
}
