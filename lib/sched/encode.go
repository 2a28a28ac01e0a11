package sched

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrSnapshot is the kind of every error of DecodeSnapshot: the snapshot is
// damaged or of another version. The Machine can do without it.
var ErrSnapshot = errors.New("no usable snapshot of the scheduler")

// The form on disk is a line of JSON for the whole, one for each transport and
// one for each destination: an operator can read and search it.
const (
	snapshotName    = "postrider scheduler"
	snapshotVersion = 1
	maxSnapshot     = 24 << 20 // bytes
	maxSnapshotLine = 1 << 16
)

// header is the first line. Transports says how many lines of them follow.
type header struct {
	Name         string `json:"snapshot"`
	Version      int    `json:"version"`
	Taken        Time   `json:"taken"`
	Transports   int    `json:"transports"`
	Destinations int    `json:"destinations"`
	Limits       int    `json:"limits,omitempty"`
}

// Encode returns the form on disk, at most 24 MB; what does not fit at the end is left out.
func (s Snapshot) Encode() []byte {
	// 100,000 limits are 10 MB of text: it is made in one piece, behind room for the head.
	const room = 256
	body := make([]byte, room, min(room+200*(len(s.Transports)+len(s.Destinations))+110*len(s.Limits), maxSnapshot))
	h := header{Name: snapshotName, Version: snapshotVersion, Taken: s.Taken}
	add := func(count *int, v any) {
		line, err := json.Marshal(v) // fails for no state of a Machine
		if err == nil && len(body)+len(line) < maxSnapshot-1000 && len(line) < maxSnapshotLine {
			body = append(append(body, line...), '\n')
			*count++
		}
	}
	for _, t := range s.Transports {
		add(&h.Transports, t)
	}
	for _, d := range s.Destinations {
		add(&h.Destinations, d)
	}
	slices.SortFunc(s.Limits, func(a, b LimitState) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Key, b.Key))
	})
	for _, l := range s.Limits {
		add(&h.Limits, l)
	}
	head, _ := json.Marshal(h)
	head = append(head, '\n')
	body = body[room-len(head):]
	copy(body, head)
	return body
}

// DecodeSnapshot reads what Encode wrote. Errors are of kind ErrSnapshot.
func DecodeSnapshot(data []byte) (Snapshot, error) {
	bad := func(line int, why any) (Snapshot, error) {
		return Snapshot{}, fmt.Errorf("%w: line %d: %v", ErrSnapshot, line, why)
	}
	if len(data) > maxSnapshot {
		return bad(1, "too large")
	}
	var s Snapshot
	var h header
	n := 0
	for line := range bytes.Lines(data) {
		n++
		if len(line) > maxSnapshotLine {
			return bad(n, "too long")
		}
		var err error
		switch {
		case n == 1:
			if err = json.Unmarshal(line, &h); err == nil && (h.Name != snapshotName || h.Version != snapshotVersion) {
				return bad(n, fmt.Sprintf("%q version %d, want %q version %d", h.Name, h.Version, snapshotName, snapshotVersion))
			}
			s.Taken = h.Taken
		case len(s.Transports) < h.Transports:
			var t TransportState
			err = json.Unmarshal(line, &t)
			s.Transports = append(s.Transports, t)
		case len(s.Destinations) == h.Destinations:
			var l LimitState
			if err = json.Unmarshal(line, &l); err == nil {
				err = l.valid()
			}
			s.Limits = append(s.Limits, l)
		default:
			var d DestinationState
			if err = json.Unmarshal(line, &d); err == nil {
				err = d.valid()
			}
			s.Destinations = append(s.Destinations, d)
		}
		if err != nil {
			return bad(n, err)
		}
	}
	if n == 0 || len(s.Transports) != h.Transports || len(s.Destinations) != h.Destinations || len(s.Limits) != h.Limits {
		return bad(n, "it ends too early or too late")
	}
	return s, nil
}

func (l *LimitState) valid() error {
	for _, due := range l.Due {
		if due < 0 || due > longest {
			return fmt.Errorf("time %d", due)
		}
	}
	if len(l.Key) > maxKey || l.Name == "" || len(l.Name) > maxKey {
		return fmt.Errorf("limit of %d bytes", len(l.Key))
	}
	return nil
}

// valid says whether the figures can come from a Machine.
func (d *DestinationState) valid() error {
	if d.Window < 1 || d.Window > 1e6 {
		return fmt.Errorf("window %d", d.Window)
	}
	for _, credit := range []float64{d.Success, d.Failure} {
		if !(credit >= -1 && credit <= 2) {
			return fmt.Errorf("credit %v", credit)
		}
	}
	if !(d.Cohorts >= 0 && d.Cohorts <= 1e6) {
		return fmt.Errorf("cohorts %v", d.Cohorts)
	}
	for _, left := range []time.Duration{d.Proven, d.Failing, d.Dead, d.Rest, d.Died} {
		if left < 0 {
			return fmt.Errorf("time %d", left)
		}
	}
	if d.Failures < 0 {
		return fmt.Errorf("failures %d", d.Failures)
	}
	if d.Key == "" || len(d.Key) > maxKey {
		return fmt.Errorf("destination of %d bytes", len(d.Key))
	}
	return nil
}
