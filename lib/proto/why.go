package proto

import (
	"time"

	"postrider/lib/ipc"
	"postrider/lib/mail"
)

// Why asks why the messages with these ids are still in the queue. The answer is a
// Reason for each that is found, and a Done.
type Why struct{ IDs []string }

// Append implements ipc.Appender.
func (m *Why) Append(b []byte) []byte { return appendStrings(b, m.IDs) }

// Decode reads the message from a frame's payload.
func (m *Why) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.IDs = decodeStrings(&d)
	return d.End()
}

// Bounds of a Reason, whatever the number of recipients.
const (
	ReasonFates = 50 // groups of recipients with the same fate
	ReasonNames = 5  // recipients named of each
)

// Reason says why one message is still in the queue.
type Reason struct {
	Item           // without recipients
	Expires        time.Time
	ExpiresSetting string // "maximal_queue_lifetime = 5d"
	Waits          []Wait // what holds for all of it
	Fates          []Fate // at most ReasonFates
	More           uint64 // recipients that no Fate speaks of

	// Facts are what package policy knows of the whole message, as "name=value"; Policy is
	// the checksum of the compiled sched.cf that the system runs by, 0 without one.
	Facts  []string
	Policy uint64
}

// Fate is what some recipients of a message have in common.
type Fate struct {
	Recipients uint64
	Names      []mail.Address // the first ReasonNames of them
	State      string         // "in hand", "waiting", "deferred", "resting", "failed"
	Transport  string         // where they go, as far as it is known
	NextHop    string
	Queue      string // virtual queue of sched.cf and level, "" without a policy: "bulk, low"
	Source     string // of sched.cf that it leaves from, or ""
	Attempts   uint64
	Reply      string    // the last one
	Class      string    // last_class of package policy
	Next       time.Time // when they are tried next, zero when that depends on Waits
	Waits      []Wait
}

// WaitKind names what is waited for.
type WaitKind string

// What may be waited for.
const (
	WaitTime    WaitKind = "time"        // the next attempt's
	WaitHold    WaitKind = "hold"        // an operator's release
	WaitDead    WaitKind = "destination" // that it lives again
	WaitWindow  WaitKind = "window"      // a connection to the destination
	WaitRate    WaitKind = "rate"        // the pause of the destination
	WaitPace    WaitKind = "pace"        // the pause of the transport
	WaitSlots   WaitKind = "slots"       // a delivery slot of the transport
	WaitShare   WaitKind = "share"       // a slot for destinations that proved nothing
	WaitQueue   WaitKind = "queue"       // a slot of its virtual queue
	WaitKept    WaitKind = "kept"        // a slot that is not kept for other virtual queues
	WaitLimit   WaitKind = "limit"       // that a limit of sched.cf has room
	WaitHours   WaitKind = "hours"       // that a window of sched.cf opens
	WaitTurn    WaitKind = "turn"        // other mail goes first
	WaitAgent   WaitKind = "agent"       // the program that delivers
	WaitResult  WaitKind = "result"      // the agent's, which has it in hand
	WaitAlone   WaitKind = "alone"       // the process that tries suspects one at a time
	WaitResolve WaitKind = "resolving"   // where the recipients go
	WaitLookup  WaitKind = "lookup"      // the answer of a database that sched.cf asks
	WaitLog     WaitKind = "log"         // room in the log of the spool
	WaitActive  WaitKind = "active"      // room in the active queue
	WaitParked  WaitKind = "parked"      // room for its destination there
	WaitStart   WaitKind = "start"       // the mail system is starting
	WaitStop    WaitKind = "stop"        // or stopping
	WaitDown    WaitKind = "down"        // or not running
	WaitJournal WaitKind = "journal"     // a message that takes recipients over
	WaitReport  WaitKind = "report"      // the report to the sender
)

// Wait is one thing that is waited for, with the figures and the setting behind it.
type Wait struct {
	For      WaitKind
	Who      string    // of an agent or a transport
	Used     uint64    // of Limit, where it is a count
	Limit    uint64    // 0: no count
	Ahead    uint64    // how much goes first
	Failures uint64    // of a destination without a success since
	Setting  string    // "minimal_backoff_time = 300s", or ""
	Since    time.Time // zero: not known
	Until    time.Time // zero: not known
	Reply    string    // of a dead destination
}

// Append implements ipc.Appender.
func (m *Reason) Append(b []byte) []byte {
	b = ipc.AppendString(b, m.Item.Append(nil))
	b = ipc.AppendTime(b, m.Expires)
	b = ipc.AppendString(b, m.ExpiresSetting)
	b = appendWaits(b, m.Waits)
	b = ipc.AppendUint(b, uint64(len(m.Fates)))
	for i := range m.Fates {
		f := &m.Fates[i]
		b = ipc.AppendUint(b, f.Recipients)
		b = ipc.AppendUint(b, uint64(len(f.Names)))
		for _, n := range f.Names {
			b = ipc.AppendString(b, n)
		}
		b = ipc.AppendString(b, f.State)
		b = ipc.AppendString(b, f.Transport)
		b = ipc.AppendString(b, f.NextHop)
		b = ipc.AppendString(ipc.AppendString(b, f.Queue), f.Source)
		b = ipc.AppendUint(b, f.Attempts)
		b = ipc.AppendString(b, f.Reply)
		b = ipc.AppendString(b, f.Class)
		b = ipc.AppendTime(b, f.Next)
		b = appendWaits(b, f.Waits)
	}
	return ipc.AppendUint(appendStrings(ipc.AppendUint(b, m.More), m.Facts), m.Policy)
}

func appendWaits(b []byte, ws []Wait) []byte {
	b = ipc.AppendUint(b, uint64(len(ws)))
	for i := range ws {
		w := &ws[i]
		b = ipc.AppendString(b, w.For)
		b = ipc.AppendString(b, w.Who)
		b = ipc.AppendUint(b, w.Used)
		b = ipc.AppendUint(b, w.Limit)
		b = ipc.AppendUint(b, w.Ahead)
		b = ipc.AppendUint(b, w.Failures)
		b = ipc.AppendString(b, w.Setting)
		b = ipc.AppendTime(b, w.Since)
		b = ipc.AppendTime(b, w.Until)
		b = ipc.AppendString(b, w.Reply)
	}
	return b
}

// Decode reads the message from a frame's payload.
func (m *Reason) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	if err := m.Item.Decode(d.Bytes()); err != nil {
		return err
	}
	m.Expires = d.Time()
	m.ExpiresSetting = d.String()
	m.Waits = decodeWaits(&d)
	for range d.Count() {
		f := Fate{Recipients: d.Uint()}
		for range d.Count() {
			f.Names = append(f.Names, mail.Address(d.String()))
		}
		f.State, f.Transport, f.NextHop = d.String(), d.String(), d.String()
		f.Queue, f.Source = d.String(), d.String()
		f.Attempts, f.Reply, f.Class, f.Next = d.Uint(), d.String(), d.String(), d.Time()
		f.Waits = decodeWaits(&d)
		m.Fates = append(m.Fates, f)
	}
	m.More = d.Uint()
	m.Facts, m.Policy = decodeStrings(&d), d.Uint()
	return d.End()
}

func decodeWaits(d *ipc.Decoder) (ws []Wait) {
	for range d.Count() {
		ws = append(ws, Wait{For: WaitKind(d.String()), Who: d.String(), Used: d.Uint(), Limit: d.Uint(), Ahead: d.Uint(),
			Failures: d.Uint(), Setting: d.String(), Since: d.Time(), Until: d.Time(), Reply: d.String()})
	}
	return ws
}
