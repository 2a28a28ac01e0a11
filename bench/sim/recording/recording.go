// Package recording is what bench/sim/record saw Debian's qmgr do with a known
// load, in the form in which it is kept: what the instance was told, how each
// destination behaves, every message, when the queue manager took it into its
// active queue, and when each delivery began and ended at the far end. bench/sim
// plays the same load to its model of Postfix and compares.
//
// All times are milliseconds from the moment at which the load began.
package recording

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Recording is one workload and what became of it.
type Recording struct {
	Workload     string        `json:"workload"`
	About        string        `json:"about"`
	Postfix      string        `json:"postfix"` // mail_version
	Limits       Limits        `json:"limits"`
	Seed         uint64        `json:"seed"`
	Second       float64       `json:"second"`     // milliseconds of the wall clock at the beginning, since Postfix counts whole seconds
	Turnaround   float64       `json:"turnaround"` // mean time from the end of a delivery to the next start
	Destinations []Destination `json:"destinations"`
	Messages     []Message     `json:"messages"`
	Admissions   []Admission   `json:"admissions"`
	Deliveries   []Delivery    `json:"deliveries"`
}

// Limits are the parameters that were set.
type Limits struct {
	Slots       int           `json:"slots"`   // maxproc of smtp
	Initial     int           `json:"initial"` // initial_destination_concurrency
	Concurrency int           `json:"concurrency"`
	Recipients  int           `json:"recipients"`  // of one delivery
	Active      int           `json:"active"`      // qmgr_message_active_limit
	MinBackoff  time.Duration `json:"min_backoff"` // whole seconds, like the others
	MaxBackoff  time.Duration `json:"max_backoff"`
	QueueRun    time.Duration `json:"queue_run"`
}

// Destination is a next hop and how it behaves.
type Destination struct {
	Name     string  `json:"name"` // the next hop
	Took     float64 `json:"took"` // a delivery, in the mean; each is within half of it and one and a half
	FailFrom float64 `json:"fail_from"`
	FailTo   float64 `json:"fail_to"`   // between the two it greets with 421
	FailTook float64 `json:"fail_took"` // after so long
}

// Message is one that was sent in.
type Message struct {
	Class    string  `json:"class"`
	At       float64 `json:"at"`                 // when it was taken; before 0: it was there at the beginning
	Deferred bool    `json:"deferred,omitempty"` // and lay in the deferred queue
	Sites    []int   `json:"sites"`              // destination of each recipient
}

// Admission is the moment at which the queue manager logged "queue active".
type Admission struct {
	At      float64 `json:"at"`
	Message int     `json:"m"`
}

// Delivery is one connection as the far end saw it.
type Delivery struct {
	Message int     `json:"m"`
	Site    int     `json:"d"`
	First   int     `json:"first"` // recipient
	Count   int     `json:"n"`     // recipients
	Start   float64 `json:"start"`
	End     float64 `json:"end"`
	Failed  bool    `json:"failed,omitempty"` // at the greeting: it is not known for which message
}

// Varied returns how long a delivery takes at a destination: chance decides
// between half the mean and one and a half, the same for the same message and
// first recipient whoever asks.
func (r *Recording) Varied(site, message, first int) float64 {
	x := r.Seed ^ uint64(site)<<48 ^ uint64(message)<<20 ^ uint64(first)
	x += 0x9e3779b97f4a7c15 // SplitMix64
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return r.Destinations[site].Took * (0.5 + float64(x>>11)/(1<<53))
}

// Fails says whether a connection that begins at a moment is refused.
func (d *Destination) Fails(at float64) bool { return at >= d.FailFrom && at < d.FailTo }

// Read reads a recording.
func Read(path string) (*Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r := new(Recording)
	if err := json.NewDecoder(z).Decode(r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Write writes a recording.
func (r *Recording) Write(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(f)
	err = json.NewEncoder(z).Encode(r)
	if e := z.Close(); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
