package sched

import "postrider/lib/mail"

// MsgID names an active message. The caller gives it.
type MsgID uint64

// EntryID names a delivery: some recipients of one message for one destination.
// The Machine gives it, from 1, and never gives one twice.
type EntryID uint64

// Kind says what an Action asks for.
type Kind uint8

// The kinds of actions.
const (
	// Deliver asks to hand Recipients of Msg to an agent of Transport, for
	// NextHop. From now on Entry is in hand, until Result ends it.
	Deliver Kind = iota + 1
	// Suspend gives Recipients of Msg back without an attempt, because their
	// destination is dead or their transport unavailable, as Reason says. They
	// are deferred; no attempt is used up.
	Suspend
	// MessageDone says that nothing of Msg waits or is in hand any more, so its
	// new state can be written. The Machine has forgotten it.
	MessageDone
	// Refill asks to Admit further recipients of Msg, which came with More: half
	// a slice of it or less is left here.
	Refill
	// Expire gives Recipients of Msg, which wait, back without an attempt, because
	// the time that Message.Expire names has come.
	Expire
	// Notice says that the time has come that Message.Notice names, and that
	// Recipients of Msg wait. They go on waiting.
	Notice
	// Postpone gives Recipients of Msg back without an attempt, because Window is shut:
	// until Until, 0 when it never opens.
	Postpone
	// Resolve asks to look up the addresses of NextHop, by the program of Transport.
	// Resolved ends it, for the list of Transport and Name.
	Resolve
)

// Action is one thing to do. Fields that its kind does not name are zero.
// Recipients are Recipient.Index values, in the order they were admitted in;
// the slice is not changed later and must not be changed by the caller.
type Action struct {
	Kind       Kind
	Entry      EntryID     // Deliver
	Msg        MsgID       // all
	Name       string      // Resolve
	Transport  string      // all but MessageDone and Refill
	NextHop    string      // the same
	Source     string      // Deliver: the egress source, or ""
	Recipients []uint32    // the same
	Reason     mail.Status // Suspend; its class is Deferred
	Window     string      // Postpone
	Until      Time        // Postpone
	// Remembered: Suspend, because the destination is known to be dead from before
	// a restart, and was not tried since.
	Remembered bool
}

// Decided is Next without the choice of new deliveries, for a caller that cannot start
// any now.
func (m *Machine) Decided() (Action, bool) { return m.out.take() }

// outbox holds actions that are decided and not yet taken.
type outbox struct {
	actions []Action
	taken   int
}

// keepOutbox is how many actions' memory survives an idle moment.
const keepOutbox = 1024

func (o *outbox) put(a Action) { o.actions = append(o.actions, a) }

func (o *outbox) take() (Action, bool) {
	if o.taken == len(o.actions) {
		return Action{}, false
	}
	a := o.actions[o.taken]
	o.actions[o.taken] = Action{} // do not keep a done message's memory
	o.taken++
	if o.taken == len(o.actions) {
		o.actions, o.taken = o.actions[:0], 0
		if cap(o.actions) > keepOutbox {
			o.actions = nil
		}
	}
	return a, true
}
