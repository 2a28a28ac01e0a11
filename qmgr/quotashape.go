package qmgr

import (
	"cmp"
	"slices"

	"postrider/lib/proto"
)

// quotaRows says how much of each quota is used: the keys that have most of theirs first,
// at most top of them (0: all).
func (m *manager) quotaRows(top int) proto.ShapeRows {
	q := &m.quotas
	rows := make(proto.ShapeRows, 0, len(q.keys))
	for _, k := range q.keys {
		quota := &q.policy.Quotas[k.keyed.Quota]
		name := quota.Name
		if of := q.policy.QuotaKey(k.keyed); of != "" {
			name += " " + of
		}
		rows = append(rows, proto.ShapeRow{Domain: name, Counts: []uint64{uint64(k.messages), uint64(quota.Messages)}})
	}
	used := func(r proto.ShapeRow) float64 { return float64(r.Counts[0]) / float64(r.Counts[1]) }
	slices.SortFunc(rows, func(a, b proto.ShapeRow) int {
		return cmp.Or(cmp.Compare(used(b), used(a)), cmp.Compare(a.Domain, b.Domain))
	})
	if top > 0 && len(rows) > top {
		rows = rows[:top]
	}
	return rows
}
