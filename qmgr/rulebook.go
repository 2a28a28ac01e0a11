package qmgr

import (
	"bytes"
	"context"
	"errors"
	"io/fs"

	"postrider/lib/address"
	"postrider/lib/mail"
	"postrider/lib/policy"
	"postrider/lib/proto"
	"postrider/lib/table"
)

// rulebook is the compiled sched.cf that master handed over, with the tables that it asks.
// The zero value is a system without one.
type rulebook struct {
	policy   *policy.Policy
	encoded  []byte
	tables   []table.Maps // by policy.Tables; of databases none
	defined  []string     // by policy.Tables: the definition of a database, or ""
	asks     bool         // databases
	facts    policy.Facts // filled anew for each decision
	decision policy.Decision
}

// readBook takes the policy of this round. It reports whether that decides otherwise than
// the one before. One that cannot be read leaves the old one: master has checked it.
func (m *manager) readBook() (changed bool) {
	b, err := m.d.File(proto.PolicyFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.log.Errorf("sched.cf: %v; the old one stays", err)
		return false
	}
	changed = !bytes.Equal(b, m.book.encoded)
	book := rulebook{encoded: b, policy: m.book.policy}
	if changed {
		book.policy = nil
		if len(b) > 0 {
			if book.policy, err = policy.Decode(b); err != nil {
				m.log.Errorf("sched.cf: %v; the old one stays", err)
				return false
			}
		}
	}
	if book.policy != nil {
		for _, spec := range book.policy.Tables {
			if s, err := table.Parse(spec); err == nil && s.Database() {
				book.tables, book.defined, book.asks = append(book.tables, nil), append(book.defined, s.Name), true
				continue
			}
			maps, err := table.Open([]string{spec}, address.TableOptions(m.d.Config(), m.d.Opener()))
			if err != nil {
				m.log.Warnf("sched.cf: %v; mail that depends on it is deferred", err)
			}
			book.tables, book.defined = append(book.tables, maps), append(book.defined, "")
		}
	}
	m.book = book
	m.questions.forget()
	return changed
}

// needsMax is how many lookups one decision may ask for: more than any policy has.
const needsMax = 100

// factsMissing is the outcome of resolving a recipient of whom a fact is being found out.
var factsMissing = &mail.Status{DSN: "4.3.0", Text: "waiting for a fact that the policy asks for"}

// decide says what the policy has for a recipient. The decision is good until the next
// call. Without one it returns why: factsMissing, or a table that does not answer.
func (m *manager) decide(msg *message, n uint32, route *address.Route) (*policy.Decision, *mail.Status) {
	d := &m.book.decision
	if m.book.policy == nil {
		*d = policy.Decision{Level: policy.Normal}
		return d, nil
	}
	f := &m.book.facts
	m.gather(f, msg, n, route)
	for range needsMax {
		need := m.book.policy.Decide(f, d)
		if need == nil {
			return d, nil
		}
		if status := m.provide(f, need); status != nil {
			return nil, status
		}
	}
	return nil, &mail.Status{DSN: "4.3.0", Text: "the policy asks for too many lookups"}
}

// provide finds out what a decision lacks: at once, or by a question.
func (m *manager) provide(f *policy.Facts, need *policy.Need) *mail.Status {
	if need.MX {
		group, known := m.groupOf(f.Transport, f.NextHop)
		f.MXGroup, f.MXKnown = group, known
		if !known {
			return factsMissing
		}
		return nil
	}
	for _, key := range need.Keys {
		if path := m.book.defined[need.Table]; path != "" {
			a := m.answerTo(about{table: path, key: key})
			switch {
			case a == nil:
				return factsMissing
			case a.failed:
				return tableFailure()
			case a.found:
				f.Answers = append(f.Answers, need.Answer(a.value, true))
				return nil
			}
			continue
		}
		v, found, err := m.book.tables[need.Table].Lookup(context.Background(), key)
		if err != nil {
			m.log.Warnf("sched.cf: %v", err)
			return tableFailure()
		}
		if found {
			f.Answers = append(f.Answers, need.Answer(v, true))
			return nil
		}
	}
	f.Answers = append(f.Answers, need.Answer("", false))
	return nil
}

// tableFailure is the status of mail that depends on a table that does not answer.
func tableFailure() *mail.Status { return &mail.Status{DSN: "4.3.0", Text: "table lookup failure"} }
