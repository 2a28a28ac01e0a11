package mailq

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"postrider/lib/proto"
)

// Why writes why messages are still in the queue, for people: a block for each. Make
// one with NewWhy and end it with Close.
type Why struct {
	w     *bufio.Writer
	null  string
	now   time.Time
	count int
}

// NewWhy writes to w. null stands for the null sender (empty_address_recipient), and
// times are told as seen at now.
func NewWhy(w io.Writer, null string, now time.Time) *Why {
	return &Why{w: bufio.NewWriter(w), null: null, now: now}
}

// Reason adds a message.
func (y *Why) Reason(r *proto.Reason) {
	if y.count++; y.count > 1 {
		fmt.Fprintln(y.w)
	}
	sender := y.null
	if r.Sender != "" {
		sender = r.Sender.External()
	}
	fmt.Fprintf(y.w, "%s  %s, %d bytes, from %s, arrived %s\n", r.ID, r.Queue, r.Size, printable(sender), y.past(r.Arrival))
	for i := range r.Waits {
		fmt.Fprintf(y.w, "  %s\n", y.wait(&r.Waits[i], string(r.ID)))
	}
	for i := range r.Fates {
		y.fate(&r.Fates[i], string(r.ID))
	}
	if r.More > 0 {
		fmt.Fprintf(y.w, "  and %s in further groups\n", count(r.More, "recipient"))
	}
	switch {
	case r.Expired:
		fmt.Fprintln(y.w, "  it is to go back to its sender: an operator forced it to expire")
	case !r.Expires.IsZero():
		fmt.Fprintf(y.w, "  goes back to its sender when an attempt fails after %s%s\n", tell(r.Expires), because(r.ExpiresSetting))
	}
}

func (y *Why) fate(f *proto.Fate, id string) {
	var names []string
	for _, n := range f.Names {
		names = append(names, printable(n.External()))
	}
	line := strings.Join(names, ", ")
	if more := f.Recipients - uint64(len(f.Names)); more > 0 {
		line += fmt.Sprintf(" and %d more", more)
	}
	if f.Transport != "" {
		line += fmt.Sprintf(" (by %s to %s", f.Transport, printable(f.NextHop))
		if f.Source != "" {
			line += " from " + f.Source
		}
		line += ")"
	}
	if f.Queue != "" {
		line += ", queue " + f.Queue
	}
	fmt.Fprintf(y.w, "  %s\n", line)
	state := f.State
	switch {
	case f.Attempts > 0:
		state += ", " + count(f.Attempts, "attempt")
	default:
		state += ", not tried yet"
	}
	fmt.Fprintf(y.w, "    %s\n", state)
	if f.Reply != "" {
		fmt.Fprintf(y.w, "    last reply: %s\n", printable(f.Reply))
	}
	for i := range f.Waits {
		fmt.Fprintf(y.w, "    %s\n", y.wait(&f.Waits[i], id))
	}
	if !f.Next.IsZero() {
		fmt.Fprintf(y.w, "    next attempt: %s\n", y.future(f.Next))
	}
}

// Close reports any error of the writer.
func (y *Why) Close() error { return y.w.Flush() }

func count(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func deliveries(n uint64) string {
	if n == 1 {
		return "1 delivery"
	}
	return fmt.Sprintf("%d deliveries", n)
}

func because(setting string) string {
	if setting == "" {
		return ""
	}
	return " (" + setting + ")"
}

func (y *Why) past(t time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	return fmt.Sprintf("%s, %s ago", tell(t), max(y.now.Sub(t), 0).Round(time.Second))
}

func (y *Why) future(t time.Time) string {
	if d := t.Sub(y.now); d >= time.Second {
		return fmt.Sprintf("%s, in %s", tell(t), d.Round(time.Second))
	}
	return "now"
}

// wait says what is waited for, in a sentence with its figures.
func (y *Why) wait(w *proto.Wait, id string) string {
	s := sentence(w, id)
	if w.For == proto.WaitDead {
		if !w.Since.IsZero() {
			s += " since " + tell(w.Since)
		}
		if w.Failures > 0 {
			s += " after " + count(w.Failures, "failure")
		}
		if w.Reply != "" {
			s += ": " + printable(w.Reply)
		}
		if !w.Until.IsZero() {
			s += "; next probe: " + y.future(w.Until) + because(w.Setting)
		}
		return s
	}
	if !w.Since.IsZero() {
		s += " since " + tell(w.Since)
	}
	if !w.Until.IsZero() && w.For != proto.WaitTime {
		s += fmt.Sprintf(", next in %s", max(w.Until.Sub(y.now), 0).Round(time.Second/10))
	}
	if w.Ahead > 0 {
		s += fmt.Sprintf(", %d before it", w.Ahead)
	}
	if w.Failures > 0 && w.For == proto.WaitWindow {
		s += fmt.Sprintf("; narrow after %s without a success", count(w.Failures, "failure"))
	}
	return s
}

// sentence says it without times.
func sentence(w *proto.Wait, id string) string {
	setting := because(w.Setting)
	switch w.For {
	case proto.WaitTime:
		return "waits for its time" + setting
	case proto.WaitHold:
		return "on hold until an operator releases it: postsuper -H " + id
	case proto.WaitDead:
		return "the destination is dead"
	case proto.WaitWindow:
		of := ""
		if name, value, ok := strings.Cut(w.Setting, " = "); ok {
			of = " of " + name + " " + value
		}
		return fmt.Sprintf("waits for a connection: window %d%s, %d in use", w.Limit, of, w.Used)
	case proto.WaitRate:
		return "waits for the pause of the destination" + setting
	case proto.WaitPace:
		return "waits for the pause of the transport " + w.Who + setting
	case proto.WaitSlots:
		return fmt.Sprintf("waits for a slot of %s: %d of %d in use%s", w.Who, w.Used, w.Limit, setting)
	case proto.WaitShare:
		return fmt.Sprintf("waits for a slot: destinations without a recent success have %d of the %d that they may have together%s", w.Used, w.Limit, setting)
	case proto.WaitQueue:
		return fmt.Sprintf("waits for a slot of queue %s: %d of %d in use", w.Who, w.Used, w.Limit)
	case proto.WaitKept:
		return fmt.Sprintf("waits for a slot of %s that is not kept for other queues: %d of %d in use", w.Who, w.Used, w.Limit)
	case proto.WaitLimit:
		s := "waits for " + printable(w.Who) + setting
		if w.Limit > 0 {
			s += fmt.Sprintf(": %d of %d connections in use", w.Used, w.Limit)
		}
		return s
	case proto.WaitHours:
		return "waits for window " + printable(w.Who) + " to open"
	case proto.WaitTurn:
		return "waits for its turn"
	case proto.WaitAgent:
		return "waits for " + w.Who + ", which is not running; master starts it again"
	case proto.WaitResult:
		return "in hand: " + w.Who + " is delivering it"
	case proto.WaitAlone:
		return "suspected: waits for a " + w.Who + " process of its own, which tries one delivery at a time"
	case proto.WaitResolve:
		return "waits for the addresses of " + w.Who + ", which are being looked up"
	case proto.WaitLookup:
		return "waits for " + printable(w.Who)
	case proto.WaitLog:
		return "waits for room in the log of the queue: is the disk full?"
	case proto.WaitActive:
		return fmt.Sprintf("waits for room in the active queue: %d of %d in use%s", w.Used, w.Limit, setting)
	case proto.WaitParked:
		return fmt.Sprintf("parked: its destination has %s in the active queue and may not take more of it now%s; parked for it: %d", deliveries(w.Used), setting, w.Limit)
	case proto.WaitStart:
		return "the queue manager has just started and waits for " + w.Who + " to say what is in hand"
	case proto.WaitStop:
		return "the mail system is stopping"
	case proto.WaitDown:
		return "the mail system is down: postrider start"
	case proto.WaitJournal:
		return "waits for the message that takes it over"
	case proto.WaitReport:
		return "waits for the report to its sender to be queued"
	}
	return "waits for " + string(w.For)
}

// WhyJSON writes the same with one JSON object a line; times are seconds of Unix.
type WhyJSON struct {
	w *bufio.Writer
	e *json.Encoder
}

// NewWhyJSON writes to w.
func NewWhyJSON(w io.Writer) *WhyJSON {
	b := bufio.NewWriter(w)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	return &WhyJSON{b, e}
}

type whyWait struct {
	For      proto.WaitKind `json:"for"`
	Text     string         `json:"text"`
	Who      string         `json:"who,omitempty"`
	Used     uint64         `json:"used,omitempty"`
	Limit    uint64         `json:"limit,omitempty"`
	Ahead    uint64         `json:"ahead,omitempty"`
	Failures uint64         `json:"failures,omitempty"`
	Setting  string         `json:"setting,omitempty"`
	Since    int64          `json:"since,omitempty"`
	Until    int64          `json:"until,omitempty"`
	Reply    string         `json:"reply,omitempty"`
}

type whyFate struct {
	Recipients uint64    `json:"recipients"`
	Addresses  []string  `json:"addresses"`
	State      string    `json:"state"`
	Transport  string    `json:"transport,omitempty"`
	NextHop    string    `json:"nexthop,omitempty"`
	Class      string    `json:"queue,omitempty"`
	Source     string    `json:"source,omitempty"`
	Attempts   uint64    `json:"attempts"`
	Reply      string    `json:"last_reply,omitempty"`
	Next       int64     `json:"next_attempt,omitempty"`
	Waits      []whyWait `json:"waits,omitempty"`
}

type whyMessage struct {
	Queue   string    `json:"queue_name"`
	ID      string    `json:"queue_id"`
	Arrival int64     `json:"arrival_time"`
	Size    int64     `json:"message_size"`
	Expired bool      `json:"forced_expire"`
	Sender  string    `json:"sender"`
	Expires int64     `json:"expires,omitempty"`
	Setting string    `json:"expires_setting,omitempty"`
	Waits   []whyWait `json:"waits,omitempty"`
	Fates   []whyFate `json:"groups"`
	More    uint64    `json:"more_recipients,omitempty"`
}

// Reason adds a message.
func (j *WhyJSON) Reason(r *proto.Reason) {
	id := string(r.ID)
	m := whyMessage{Queue: r.Queue, ID: id, Arrival: unix(r.Arrival), Size: r.Size, Expired: r.Expired, Sender: r.Sender.External(),
		Expires: unix(r.Expires), Setting: r.ExpiresSetting, Waits: whyWaits(r.Waits, id), Fates: []whyFate{}, More: r.More}
	for i := range r.Fates {
		f := &r.Fates[i]
		out := whyFate{Recipients: f.Recipients, State: f.State, Transport: f.Transport, NextHop: f.NextHop, Class: f.Queue, Source: f.Source, Attempts: f.Attempts,
			Reply: f.Reply, Next: unix(f.Next), Waits: whyWaits(f.Waits, id)}
		for _, n := range f.Names {
			out.Addresses = append(out.Addresses, n.External())
		}
		m.Fates = append(m.Fates, out)
	}
	j.e.Encode(&m) // an error is the writer's, and comes with Close
}

func whyWaits(ws []proto.Wait, id string) (out []whyWait) {
	for i := range ws {
		w := &ws[i]
		out = append(out, whyWait{For: w.For, Text: sentence(w, id), Who: w.Who, Used: w.Used, Limit: w.Limit, Ahead: w.Ahead,
			Failures: w.Failures, Setting: w.Setting, Since: unix(w.Since), Until: unix(w.Until), Reply: w.Reply})
	}
	return out
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// Close reports any error of the writer.
func (j *WhyJSON) Close() error { return j.w.Flush() }
