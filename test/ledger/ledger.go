package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Key names an entry.
type Key struct {
	Message   string // the id in its Header
	Recipient string // the envelope recipient
}

func (k Key) String() string { return k.Message + " to " + k.Recipient }

// entry is what is known about a key.
type entry struct {
	attempted, acked, unknown, rejected bool
	delivered                           int
	bounced                             int
	queued                              bool
	deleted                             bool
}

// Ledger holds all entries. The zero value is empty and ready; any goroutine may use it.
type Ledger struct {
	mu        sync.Mutex
	sums      map[string]Sum
	entries   map[Key]*entry
	mixed     []string
	truncated []string
}

func (l *Ledger) at(message, recipient string) *entry {
	if l.entries == nil {
		l.entries = map[Key]*entry{}
		l.sums = map[string]Sum{}
	}
	k := Key{message, strings.ToLower(recipient)}
	e := l.entries[k]
	if e == nil {
		e = &entry{}
		l.entries[k] = e
	}
	return e
}

// Attempt says that the message is about to be sent with this content. It comes before
// anything else about the message.
func (l *Ledger) Attempt(message string, sum Sum, recipients ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range recipients {
		l.at(message, r).attempted = true
	}
	l.sums[message] = sum
}

// Acked says that the source saw 250 for the message, with these recipients in it.
func (l *Ledger) Acked(message string, recipients ...string) {
	l.each(message, recipients, func(e *entry) { e.acked = true })
}

// Unknown says that the connection was lost after the end of the message was sent.
func (l *Ledger) Unknown(message string, recipients ...string) {
	l.each(message, recipients, func(e *entry) { e.unknown = true })
}

// Rejected says that the source was told no, or never came to the end of the message.
func (l *Ledger) Rejected(message string, recipients ...string) {
	l.each(message, recipients, func(e *entry) { e.rejected = true })
}

// Delivered says that a message was found where its recipient gets it, complete with
// its content's sum.
func (l *Ledger) Delivered(message, recipient string, sum Sum) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at(message, recipient).delivered++
	l.compare(message, sum, Key{message, recipient}.String())
}

// compare notes a content that is not what was sent.
func (l *Ledger) compare(message string, sum Sum, where string) {
	switch want, ok := l.sums[message]; {
	case !ok || want == sum:
	case sum.Size < want.Size:
		l.truncated = append(l.truncated, fmt.Sprintf("%s (%d of %d bytes)", where, sum.Size, want.Size))
	default:
		l.mixed = append(l.mixed, where)
	}
}

// Found is Delivered for a content as it was found. One without an id is mixed.
func (l *Ledger) Found(recipient string, content []byte) {
	id, sum, err := Identify(content)
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.mixed = append(l.mixed, fmt.Sprintf("content without id to %s: %.60q", recipient, content))
		return
	}
	l.Delivered(id, recipient, sum)
}

// Bounced says that the sender got a report that this recipient failed.
func (l *Ledger) Bounced(message string, recipients ...string) {
	l.each(message, recipients, func(e *entry) { e.bounced++ })
}

// Queued says that the message is in the queue with this recipient and this content.
func (l *Ledger) Queued(message, recipient string, sum Sum) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at(message, recipient).queued = true
	l.compare(message, sum, Key{message, recipient}.String()+" (in the queue)")
}

// Deleted says that an operator was told that the message is deleted: whoever did not
// get it by then need not.
func (l *Ledger) Deleted(message string, recipients ...string) {
	l.each(message, recipients, func(e *entry) { e.deleted = true })
}

func (l *Ledger) each(message string, recipients []string, f func(*entry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range recipients {
		f(l.at(message, r))
	}
}

// Open returns how many acknowledged entries were neither delivered nor bounced so far.
func (l *Ledger) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, e := range l.entries {
		if e.acked && e.delivered+e.bounced == 0 {
			n++
		}
	}
	return n
}

// Verdict is what the ledger says at the end.
type Verdict struct {
	Acked, Unknown, Rejected   int // entries, by what the source was told
	Delivered, Bounced, Queued int // entries, by where they were found

	Lost       []Key    // acknowledged, and found nowhere
	Unexpected []Key    // delivered, bounced or queued, though never sent or rejected
	Mixed      []string // with another content than was sent, or with no id
	Truncated  []string // with another content, and that shorter than was sent
	Duplicates []Key    // delivered or bounced more than once, as often as it was too much
	Both       []Key    // delivered and bounced
	Recovered  []Key    // unknown to the source, and delivered
}

// Judge compares what was sent with what was found.
func (l *Ledger) Judge() Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := Verdict{Mixed: slices.Clone(l.mixed), Truncated: slices.Clone(l.truncated)}
	for k, e := range l.entries {
		found := e.delivered > 0 || e.bounced > 0 || e.queued
		switch {
		case e.acked && !found && !e.deleted:
			v.Lost = append(v.Lost, k)
		case found && !e.acked && !e.unknown:
			v.Unexpected = append(v.Unexpected, k)
		case found && !e.acked:
			v.Recovered = append(v.Recovered, k)
		}
		for n := e.delivered; n > 1; n-- {
			v.Duplicates = append(v.Duplicates, k)
		}
		for n := e.bounced; n > 1; n-- {
			v.Duplicates = append(v.Duplicates, k)
		}
		if e.delivered > 0 && e.bounced > 0 {
			v.Both = append(v.Both, k)
		}
		v.Acked += one(e.acked)
		v.Unknown += one(e.unknown && !e.acked)
		v.Rejected += one(e.rejected && !e.acked && !e.unknown)
		v.Delivered += one(e.delivered > 0)
		v.Bounced += one(e.bounced > 0)
		v.Queued += one(e.queued)
	}
	for _, keys := range [][]Key{v.Lost, v.Unexpected, v.Duplicates, v.Both, v.Recovered} {
		slices.SortFunc(keys, func(a, b Key) int {
			return cmp.Or(cmp.Compare(a.Message, b.Message), cmp.Compare(a.Recipient, b.Recipient))
		})
	}
	slices.Sort(v.Mixed)
	slices.Sort(v.Truncated)
	return v
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Err returns what is never allowed, or nil.
func (v Verdict) Err() error {
	var b strings.Builder
	list := func(what string, n int, at func(int) string) {
		if n == 0 {
			return
		}
		fmt.Fprintf(&b, "%d %s:", n, what)
		for i := range min(n, 10) {
			fmt.Fprintf(&b, " %s;", at(i))
		}
		b.WriteByte(' ')
	}
	list("lost", len(v.Lost), func(i int) string { return v.Lost[i].String() })
	list("unexpected", len(v.Unexpected), func(i int) string { return v.Unexpected[i].String() })
	list("mixed", len(v.Mixed), func(i int) string { return v.Mixed[i] })
	list("truncated", len(v.Truncated), func(i int) string { return v.Truncated[i] })
	if b.Len() == 0 {
		return nil
	}
	return fmt.Errorf("%s(%s)", b.String(), v)
}

// String gives the counts.
func (v Verdict) String() string {
	return fmt.Sprintf("acked %d, unknown %d, delivered %d, bounced %d, queued %d, lost %d, unexpected %d, mixed %d, truncated %d, duplicates %d, both %d, recovered %d",
		v.Acked, v.Unknown, v.Delivered, v.Bounced, v.Queued, len(v.Lost), len(v.Unexpected), len(v.Mixed), len(v.Truncated), len(v.Duplicates), len(v.Both), len(v.Recovered))
}
