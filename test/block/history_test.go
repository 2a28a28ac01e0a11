package block

import (
	"sync"
	"time"

	"postrider/test/ledger"
	"postrider/test/sink"
)

// history is what senders, recipients and an operator saw while a disk was recorded,
// and at which position of its log. From it comes what has to be after a cut anywhere.
type history struct {
	d *device

	mu    sync.Mutex
	sent  []*sending
	by    map[string]*sending
	found []finding
	verbs []*verb
}

// sending is one message as its sender knows it.
type sending struct {
	id              string
	sum             ledger.Sum
	to              []string
	begun, answered int
	acked, refused  []string // nothing of either: there was no answer
}

// finding is a delivery, or a report of its failure, to somebody outside of the disk.
type finding struct {
	key     ledger.Key
	sum     ledger.Sum
	bounced bool
	pos     int
	at      time.Time
}

// verb is a command of an operator's for a message. What it does is so when it exits;
// from its begin on it may be.
type verb struct {
	kind       string // of postsuper: d, h, H or r
	id         string
	begin, end int
	done       bool
}

func newHistory(d *device) *history { return &history{d: d, by: map[string]*sending{}} }

func (h *history) begin(id string, sum ledger.Sum, to []string) *sending {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &sending{id: id, sum: sum, to: to, begun: h.d.position()}
	h.sent, h.by[id] = append(h.sent, s), s
	return s
}

func (h *history) answer(s *sending, acked, refused []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.acked, s.refused, s.answered = acked, refused, h.d.position()
}

// deliver is a sink's handler.
func (h *history) deliver(m *sink.Mail) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := finding{sum: m.Sum, pos: h.d.position(), at: time.Now()}
	for _, r := range m.Recipients {
		f.key = ledger.Key{Message: m.ID, Recipient: r}
		h.found = append(h.found, f)
	}
}

// report is the handler of the sink that has the senders' mailboxes.
func (h *history) report(m *sink.Mail) {
	id, failed, err := ledger.Reported(m.Content)
	if err != nil || m.Sender != "" {
		h.deliver(m)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range failed {
		h.found = append(h.found, finding{key: ledger.Key{Message: id, Recipient: r}, bounced: true, pos: h.d.position(), at: time.Now()})
	}
}

// command begins a verb; the function it returns ends it, when it had exit code 0.
func (h *history) command(kind, id string) (done func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := &verb{kind: kind, id: id, begin: h.d.position()}
	h.verbs = append(h.verbs, v)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		v.end, v.done = h.d.position(), true
	}
}

// judgeable says whether enough has happened for a judgement to mean something.
func (h *history) judgeable() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.verbs) >= 3 && len(h.found) >= 100
}

// at fills a ledger with what had happened before a cut at pos. What is deleted, and
// what is on hold for certain, comes with it.
func (h *history) at(pos int, l *ledger.Ledger) (deleted, held map[string]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sent {
		if s.begun > pos {
			continue
		}
		l.Attempt(s.id, s.sum, s.to...)
		switch {
		case s.answered > pos || len(s.acked)+len(s.refused) == 0:
			l.Unknown(s.id, s.to...)
		default:
			l.Acked(s.id, s.acked...)
			l.Rejected(s.id, s.refused...)
		}
	}
	for _, f := range h.found {
		if f.pos > pos {
			break
		}
		if f.bounced {
			l.Bounced(f.key.Message, f.key.Recipient)
		} else {
			l.Delivered(f.key.Message, f.key.Recipient, f.sum)
		}
	}
	deleted, held = map[string]bool{}, map[string]bool{}
	for _, v := range h.verbs {
		if v.begin > pos {
			break
		}
		over := v.done && v.end <= pos
		switch v.kind {
		case "d":
			l.Deleted(v.id, h.by[v.id].to...)
			if over {
				deleted[v.id] = true
			}
		case "h":
			held[v.id] = over
		case "H":
			delete(held, v.id)
		}
	}
	return deleted, held
}

// before gives the last time before pos at which a key was delivered, or reported, to
// the outside.
func (h *history) before(pos int) map[ledger.Key]time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := map[ledger.Key]time.Time{}
	for _, f := range h.found {
		if f.pos > pos {
			break
		}
		m[f.key] = f.at
	}
	return m
}
