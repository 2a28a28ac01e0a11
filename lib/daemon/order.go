package daemon

import (
	"os"
	"strconv"

	"postrider/lib/maillog"
)

// ranks are the places of programs on a message's way; who is not here only delivers.
var ranks = map[string]maillog.Rank{"smtpd": maillog.Receiving, "cleanup": maillog.Accepting, "qmgr": maillog.Queueing}

// joinOrder has the log's lines keep the order of a message's way.
func (d *Daemon) joinOrder(place string, f *os.File) {
	defer f.Close()
	n, err := strconv.ParseUint(place, 10, 8)
	if err != nil || n >= maillog.Places {
		d.Log.Warnf("there is no place %q in the order of the log", place)
		return
	}
	rank, ok := ranks[d.Program]
	if !ok {
		rank = maillog.Delivering
	}
	o, err := maillog.JoinOrder(f, int(n), rank)
	if err != nil {
		d.Log.Warnf("%v; lines about a message may come in another order", err)
		return
	}
	d.Log.Join(o)
}
