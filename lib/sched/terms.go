package sched

import (
	"slices"
	"strings"
)

// Level is a priority. Higher ones go first.
type Level int8

// The levels; mail has Normal unless something else is said.
const (
	Low Level = iota - 1
	Normal
	High
	Critical
)

func (l Level) String() string { return [...]string{"low", "normal", "high", "critical"}[l-Low] }

// levels is how many there are.
const levels = int(Critical-Low) + 1

// DefaultQueue is the virtual queue of mail without Terms.
const DefaultQueue = "default"

// Terms are what a policy says of a recipient's mail. nil is the default queue, the level
// Normal, and no limit. The Machine keeps the pointer; what it points to must not change.
type Terms struct {
	Queue  string     // a name of Config.Queues; any other is the default
	Level  Level      // its priority
	Limits []LimitKey // that hold for it, all together
	Window string     // when it may be tried: a name of Config.Windows, or ""
}

// LimitKey names a limit and what shares it.
type LimitKey struct {
	Limit string // a name of Config.Limits; any other does not bound
	Key   string
}

// Equal says whether both schedule mail alike.
func (t *Terms) Equal(u *Terms) bool {
	if t == nil || u == nil {
		return t.plain() && u.plain()
	}
	return t.Queue == u.Queue && t.Level == u.Level && t.Window == u.Window && slices.Equal(t.Limits, u.Limits)
}

func (t *Terms) plain() bool {
	return t == nil || (t.Queue == "" || t.Queue == DefaultQueue) && t.Level == Normal && len(t.Limits) == 0 && t.Window == ""
}

// key is one for all Terms with the same limits and window; "" for none of them.
func (t *Terms) key() string {
	if t == nil || len(t.Limits) == 0 && t.Window == "" {
		return ""
	}
	var b strings.Builder
	for _, k := range t.Limits {
		b.WriteString(k.Limit)
		b.WriteByte(0)
		b.WriteString(k.Key)
		b.WriteByte(1)
	}
	b.WriteString(t.Window)
	return b.String()
}
