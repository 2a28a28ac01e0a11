package slot

// Resume makes the encoder write again what a log says was written to a file
// before: the next record has number slots and follows end, behind a copy of
// the header if copyDue. For files whose content is known from elsewhere;
// others are never appended to once their writer is gone.
func (e *Encoder) Resume(h Header, end int64, slots uint32, copyDue bool) {
	e.Reset(h)
	e.start, e.slot, e.synced = end, slots, end
	e.mark = end / HeaderEvery * HeaderEvery
	if !copyDue {
		e.mark += HeaderEvery
	}
}
