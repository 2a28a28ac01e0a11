package sched

import (
	"cmp"
	"slices"
)

// Destinations lists every destination that has mail or is remembered, sorted
// by transport and name.
func (m *Machine) Destinations() []Destination {
	var all []Destination
	for _, t := range m.transports {
		for _, d := range t.dests {
			all = append(all, m.describe(d))
		}
	}
	slices.SortFunc(all, func(a, b Destination) int {
		return cmp.Or(cmp.Compare(a.Transport, b.Transport), cmp.Compare(a.Name, b.Name))
	})
	return all
}
