package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"postrider/bench/sim/recording"
)

// workload is a load: what the instance is told and how mail is sent in. Each
// shows another part of the algorithm.
type workload struct {
	recording.Recording
	load func(*session) error
}

var workloads = []workload{
	{mailing, loadMailing},
	{feedback, loadFeedback},
	{turns, loadTurns},
}

// sites returns n destinations on loopback.
func sites(n int, took float64) []recording.Destination {
	all := make([]recording.Destination, n)
	for i := range all {
		all[i] = recording.Destination{Name: fmt.Sprintf("[127.0.0.%d]:%d", 11+i, sinkPort), Took: took}
	}
	return all
}

var mailing = recording.Recording{
	Workload: "mailing",
	About: "a mailing of 1600 recipients over eight destinations, with ten smtp processes; then single messages to three of them, " +
		"small mailings of 8 recipients and larger ones of 100 arrive: who passes the mailing, and when (delivery slots)",
	Limits: recording.Limits{Slots: 10, Initial: 5, Concurrency: 20, Recipients: 2, Active: 20000,
		MinBackoff: 300 * time.Second, MaxBackoff: 4000 * time.Second, QueueRun: 300 * time.Second},
	Seed:         1,
	Destinations: sites(8, 300),
}

func loadMailing(s *session) error {
	r := rand.New(rand.NewPCG(1, 1))
	var all []int
	for i := range 1600 {
		all = append(all, i%8)
	}
	if err := s.preload("mailing", false, all); err != nil {
		return err
	}
	if err := s.begin(); err != nil {
		return err
	}
	for i := range 150 {
		s.pause(r.ExpFloat64() * 150)
		var err error
		switch {
		case i%50 == 20:
			err = s.send("large", all[:100])
		case i%10 == 9:
			from := r.IntN(800)
			err = s.send("small", all[from:from+8])
		default:
			err = s.send("single", []int{[]int{0, 0, 1, 7}[r.IntN(4)]})
		}
		if err != nil {
			return err
		}
	}
	return s.drained()
}

var feedback = recording.Recording{
	Workload: "feedback",
	About: "a fast, a slow, an ailing and a dead destination with thirty smtp processes: windows grow and shrink, a cohort of failures, " +
		"mail deferred without an attempt, the return after the backoff",
	Limits: recording.Limits{Slots: 30, Initial: 5, Concurrency: 20, Recipients: 50, Active: 20000,
		MinBackoff: 5 * time.Second, MaxBackoff: 15 * time.Second, QueueRun: 3 * time.Second},
	Seed: 2,
	Destinations: func() []recording.Destination {
		d := sites(4, 300)
		d[1].Took = 2000
		d[2].FailFrom, d[2].FailTo, d[2].FailTook = 4000, 14000, 400
		d[3].FailFrom, d[3].FailTo, d[3].FailTook = 0, 11000, 700
		return d
	}(),
}

func loadFeedback(s *session) error {
	classes := []string{"fast", "slow", "ailing", "dead"}
	r := rand.New(rand.NewPCG(2, 1))
	for i := range 260 {
		site := 0
		if i%4 == 3 {
			site = 1
		} else if i%13 == 5 {
			site = 3
		}
		if err := s.preload(classes[site], false, []int{site}); err != nil {
			return err
		}
	}
	if err := s.begin(); err != nil {
		return err
	}
	for range 300 {
		s.pause(r.ExpFloat64() * 100)
		site := []int{0, 2, 2, 3}[r.IntN(4)]
		if err := s.send(classes[site], []int{site}); err != nil {
			return err
		}
	}
	return s.drained()
}

var turns = recording.Recording{
	Workload: "turns",
	About: "an active queue of fifty, 300 messages in the deferred queue and 300 in incoming and more coming, six destinations of " +
		"different speed, twelve smtp processes: whose turn it is",
	Limits: recording.Limits{Slots: 12, Initial: 5, Concurrency: 20, Recipients: 50, Active: 50,
		MinBackoff: 300 * time.Second, MaxBackoff: 4000 * time.Second, QueueRun: 3 * time.Second},
	Seed: 3,
	Destinations: func() []recording.Destination {
		d := sites(6, 0)
		for i := range d {
			d[i].Took = 150 * float64(i+1)
		}
		return d
	}(),
}

func loadTurns(s *session) error {
	r := rand.New(rand.NewPCG(3, 1))
	for range 300 {
		if err := s.preload("deferred", true, []int{r.IntN(6)}); err != nil {
			return err
		}
	}
	for range 300 {
		if err := s.preload("incoming", false, []int{r.IntN(6)}); err != nil {
			return err
		}
	}
	if err := s.begin(); err != nil {
		return err
	}
	for range 100 {
		s.pause(r.ExpFloat64() * 100)
		if err := s.send("new", []int{r.IntN(6)}); err != nil {
			return err
		}
	}
	return s.drained()
}
