package sched

// list is a doubly linked list of nodes that live inside their owners, so that
// joining and leaving cost no memory and no search.
type list[T any] struct {
	first, last *node[T]
	n           int
}

// node is an owner's place in one list; of is the owner.
type node[T any] struct {
	of         *T
	in         *list[T]
	prev, next *node[T]
}

// push puts x at the end; x must be in no list.
func (l *list[T]) push(x *node[T]) {
	x.in, x.prev, x.next = l, l.last, nil
	if l.last != nil {
		l.last.next = x
	} else {
		l.first = x
	}
	l.last = x
	l.n++
}

// pushFirst puts x at the beginning; x must be in no list.
func (l *list[T]) pushFirst(x *node[T]) {
	x.in, x.prev, x.next = l, nil, l.first
	if l.first != nil {
		l.first.prev = x
	} else {
		l.last = x
	}
	l.first = x
	l.n++
}

// leave takes x out of the list it is in, if any.
func (x *node[T]) leave() {
	l := x.in
	if l == nil {
		return
	}
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		l.first = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	} else {
		l.last = x.prev
	}
	l.n--
	x.in, x.prev, x.next = nil, nil, nil
}

// member makes x a member of l or not; a member keeps its place.
func (l *list[T]) member(x *node[T], yes bool) {
	if yes && x.in == nil {
		l.push(x)
	} else if !yes {
		x.leave()
	}
}

// rotate moves the first node to the end and returns its owner, or nil when
// the list is empty.
func (l *list[T]) rotate() *T {
	x := l.first
	if x == nil {
		return nil
	}
	if x != l.last {
		x.leave()
		l.push(x)
	}
	return x.of
}
