package sched

// Intake says whose turn it is to give the next message that is looked at: what is
// parked, and what comes from the queues, in turn; and of these incoming and deferred, in
// turn, while both have some. A look counts as a turn, too, that admits nothing: a million
// that are due for a full destination must not come before what is new. (Postfix starves
// deferred mail while its active queue stays full; here the turns always hold.)
type Intake struct {
	turns int
	fresh bool // Incoming had the last turn of the two
}

// Queues are where mail is taken from. Each method looks at one message, and says whether
// there was one to look at.
type Queues interface {
	Parked() bool
	Next(Source) bool
}

// Look has one message looked at, false when there is none.
func (in *Intake) Look(q Queues) bool {
	for range 2 {
		if in.turns++; in.turns%2 == 0 {
			if q.Parked() {
				return true
			}
			continue
		}
		in.fresh = !in.fresh
		if in.fresh && q.Next(Incoming) || q.Next(Deferred) || q.Next(Incoming) {
			return true
		}
	}
	return false
}
