package mailq

import (
	"slices"
	"strings"
	"time"

	"postrider/lib/mail"
	"postrider/lib/policy"
	"postrider/lib/proto"
)

// Fates collects the recipients of a message in groups that share their fate, so that
// what is said of a mailing fits on a page. The zero value is empty.
type Fates struct {
	List []proto.Fate
	More uint64 // recipients beyond the bound
	at   map[fate]int
}

// fate is what recipients of one group have in common.
type fate struct {
	state, transport, nextHop, queue, reply string
	attempts                                uint64
	next                                    int64
	wait                                    proto.WaitKind
	who                                     string
}

// Add adds a recipient and returns its group, which is like f. It returns -1 when there
// are as many groups already as are told of, and whether the group is new.
func (fs *Fates) Add(to mail.Address, f *proto.Fate) (group int, fresh bool) {
	k := fate{f.State, f.Transport, strings.ToLower(f.NextHop), f.Queue + "\x00" + f.Source, f.Reply, f.Attempts, f.Next.Unix(), "", ""}
	if len(f.Waits) > 0 {
		k.wait, k.who = f.Waits[0].For, f.Waits[0].Who
	}
	i, ok := fs.at[k]
	switch {
	case ok:
	case len(fs.List) == proto.ReasonFates:
		fs.More++
		return -1, false
	default:
		if fs.at == nil {
			fs.at = map[fate]int{}
		}
		i, fresh = len(fs.List), true
		fs.at[k] = i
		fs.List = append(fs.List, *f)
		fs.List[i].Waits = slices.Clone(f.Waits)
	}
	g := &fs.List[i]
	g.Recipients++
	if len(g.Names) < proto.ReasonNames {
		g.Names = append(g.Names, to)
	}
	return i, fresh
}

// Sort puts the largest groups first.
func (fs *Fates) Sort() {
	slices.SortStableFunc(fs.List, func(a, b proto.Fate) int { return int(b.Recipients) - int(a.Recipients) })
}

// Reply is the last result of a recipient as it is shown.
func Reply(st *mail.Status) string {
	if st.Text == "" {
		return st.DSN
	}
	return st.Text
}

// Tell returns a time as Postfix's listing does.
func tell(t time.Time) string { return t.Local().Format("Mon Jan _2 15:04:05") }

// NewFate is the fate of a recipient that waits for its next attempt, which is due then,
// zero when there was none yet.
func NewFate(attempts uint32, due time.Time, st *mail.Status) proto.Fate {
	f := proto.Fate{State: "deferred", Attempts: uint64(attempts), Reply: Reply(st), Class: policy.ClassOf(st), Next: due}
	switch {
	case st.Class == mail.Bounced:
		f.State = "failed, to be reported to the sender"
	case attempts == 0 && f.Reply == "":
		f.State = "waiting"
	}
	return f
}
