package main

// Delivery slots: default_delivery_slot_cost, _loan, _discount and
// default_minimum_delivery_slots.
const (
	slotCost     = 5
	slotLoan     = 3
	slotDiscount = 50
	minimumSlots = 3
)

// choose selects the next entry (qmgr_job_entry_select).
func (p *postfix) choose() *entry {
	if p.current == nil {
		return nil
	}
	j := p.preempt(p.current)
	for j != nil {
		if j.tag == p.tag {
			j = j.next
			continue
		}
		if e := j.take(); e != nil {
			p.current = j
			if p.candidate.of != j { // its chance to be one has risen
				p.candidate.of = nil
			}
			j.slots++
			j.used++
			j.selected++
			e.q.todo--
			e.q.busy++
			delete(e.q.entries, e)
			if j.selected == j.read && j.unread == 0 {
				p.retire(j)
			}
			return e
		}
		next := j.next
		if j.selected < j.read {
			j.tag = p.tag
			for _, pe := range j.peers {
				if len(pe.entries) > 0 {
					pe.q.tag = p.tag
				}
			}
		} else if j.unread == 0 {
			p.retire(j)
		}
		j = next
	}
	p.current = nil
	return nil
}

// take gives the first entry of the first peer whose queue has room, and puts
// the peer last. Peers without entries are dropped.
func (j *job) take() *entry {
	for i := 0; i < len(j.peers); i++ {
		pe := j.peers[i]
		if len(pe.entries) == 0 {
			delete(j.bySite, pe.q.site)
			j.peers = append(j.peers[:i], j.peers[i+1:]...)
			i--
			continue
		}
		if pe.q.dead || pe.q.busy >= pe.q.window {
			continue
		}
		if i == 0 {
			j.peers = append(j.peers[1:], pe)
		} else {
			copy(j.peers[i:], j.peers[i+1:])
			j.peers[len(j.peers)-1] = pe
		}
		e := pe.entries[0]
		pe.entries = pe.entries[1:]
		return e
	}
	return nil
}

// maxEntries counts unread recipients as an entry each.
func (j *job) maxEntries() int { return j.read + j.unread }

// preempt lets the best smaller job pass the current one, if that has earned the
// slots (qmgr_job_preempt).
func (p *postfix) preempt(cur *job) *job {
	if cur.slots <= 0 || cur.maxEntries() < minimumSlots*slotCost {
		return cur
	}
	c := p.best(cur)
	if c == nil || c == cur {
		return cur
	}
	needed := c.maxEntries() - c.selected
	if float64(cur.slots/slotCost+slotLoan) < float64(needed)*(100-slotDiscount)/100 {
		return cur
	}
	p.pop(c)
	p.unlink(c)
	c.listed, c.prev, c.next = true, cur.prev, cur
	if cur.prev != nil {
		cur.prev.next = c
	} else {
		p.first = c
	}
	cur.prev = c
	c.parent, c.level = cur, cur.level+1
	if cur.children == nil {
		cur.children = map[*job]bool{}
	}
	cur.children[c] = true
	cur.slots -= needed * slotCost
	c.used = -needed
	p.current, p.candidate.of = c, nil
	return c
}

// best is the job after cur with the best score: age by size. It is looked for
// anew in each second; that there is none holds until the jobs change.
func (p *postfix) best(cur *job) *job {
	second := p.whole(p.now)
	if p.candidate.of == cur && (p.candidate.second == second || p.candidate.is == nil) {
		return p.candidate.is
	}
	room := (cur.read - cur.selected + cur.slots) / slotCost
	var best *job
	score := 0.0
	for j := cur.next; room > 0 && j != nil; j = j.next {
		if j.tag == p.tag || len(j.children) > 0 {
			continue
		}
		age := second.Sub(j.queued).Seconds() + 1
		if age <= score && j.parent == nil {
			break // later ones are younger still
		}
		needed := j.maxEntries() - j.selected
		if s := age / float64(j.maxEntries()); needed > 0 && needed <= room && s > score {
			best, score = j, s
		}
	}
	p.candidate.of, p.candidate.second, p.candidate.is = cur, second, best
	return best
}

// pop takes a job from the stack (qmgr_job_pop): what it was given and did not
// use goes back, and its children go to its parent.
func (p *postfix) pop(j *job) {
	if j.parent != nil {
		if j.level == j.parent.level+1 { // else it passed another, which is gone
			j.parent.slots -= j.used * slotCost
		}
		delete(j.parent.children, j)
	}
	for c := range j.children {
		if c.parent = j.parent; c.parent != nil {
			c.parent.children[c] = true
		}
	}
	j.children, j.parent, j.level, p.candidate.of = nil, nil, 0, nil
}

// retire takes a job out of the list.
func (p *postfix) retire(j *job) {
	p.pop(j)
	if p.current == j {
		p.current = j.next
	}
	p.unlink(j)
}
