package qmgr

import "postrider/lib/spool"

// fifo is a queue of messages that gives its memory back when it is empty.
type fifo struct {
	list       []*spool.Message
	head       int
	recipients int // of them all
}

func (f *fifo) len() int { return len(f.list) - f.head }

func (f *fifo) push(m *spool.Message) {
	f.list = append(f.list, m)
	f.recipients += len(m.Envelope.Recipients)
}

func (f *fifo) pop() *spool.Message {
	if f.len() == 0 {
		return nil
	}
	m := f.list[f.head]
	f.recipients -= len(m.Envelope.Recipients)
	f.list[f.head] = nil
	f.head++
	switch {
	case f.head == len(f.list):
		f.list, f.head = nil, 0
	case f.head > 1024 && f.head > len(f.list)/2:
		f.list = append(f.list[:0:0], f.list[f.head:]...)
		f.head = 0
	}
	return m
}
