package qmgr

import "time"

// demand knows which destinations were asked for a moment ago: the sessions with them are
// kept, the others' are not (smtp_connection_cache_on_demand). Otherwise mail to thousands
// of destinations would hold a slot at each, and a descriptor here, for nothing.
type demand struct {
	now, before map[demanded]struct{}
	turned      time.Time // when now was begun
}

type demanded struct{ transport, nextHop string }

// demandTime is how recent the last delivery must be, and up to twice that.
const demandTime = time.Second

// again notes that a destination is asked for, and says whether it was a moment ago.
func (d *demand) again(at time.Time, transport, nextHop string) bool {
	if d.now == nil {
		d.now, d.before = map[demanded]struct{}{}, map[demanded]struct{}{}
	}
	if past := at.Sub(d.turned); past >= demandTime || past < 0 {
		d.now, d.before = d.before, d.now
		clear(d.now)
		if past >= 2*demandTime {
			clear(d.before)
		}
		d.turned = at
	}
	x := demanded{transport, nextHop}
	if _, ok := d.now[x]; ok {
		return true
	}
	d.now[x] = struct{}{}
	_, ok := d.before[x]
	return ok
}
