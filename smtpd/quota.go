package smtpd

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/policy"
	"postrider/lib/proto"
	"postrider/lib/table"
)

// Quotas of sched.cf. qmgr counts the messages of each key and says which keys are used
// up (proto.Full); smtpd works out the keys of a recipient as qmgr will, and refuses it
// when one of them is among these. What is on its way meanwhile is not counted: so many
// messages more than the quota may come in as transactions are open beside each other.

// fullKeys are the keys that are used up.
type fullKeys struct {
	some atomic.Bool // there are any: most of the time nothing is to be worked out
	mu   sync.RWMutex
	keys map[proto.FullKey]struct{}
}

// take notes what qmgr says, by way of cleanup.
func (k *fullKeys) take(m *proto.Full) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil || m.All {
		k.keys = map[proto.FullKey]struct{}{}
	}
	for _, x := range m.Keys {
		k.keys[x] = struct{}{}
	}
	for _, x := range m.Free {
		delete(k.keys, x)
	}
	k.some.Store(len(k.keys) > 0)
}

func (k *fullKeys) has(quota, key string) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	_, is := k.keys[proto.FullKey{Quota: quota, Key: key}]
	return is
}

// quotas are those of a policy.
type quotas struct {
	policy *policy.Policy
	tables []table.Maps    // by policy.Tables; those that no quota asks are nil
	mapper *address.Mapper // makes of the sender what cleanup will make of it
}

// newQuotas returns nil when there are none.
func newQuotas(cfg *config.Config, open table.Opener, log *maillog.Logger) *quotas {
	r, err := open(proto.PolicyFile)
	if err != nil || r.Size() == 0 || r.Size() > policy.EncodedMax {
		return nil
	}
	b, err := io.ReadAll(r)
	if err != nil {
		log.Errorf("sched.cf: %v; no quota holds", err)
		return nil
	}
	p, err := policy.Decode(b)
	if err != nil {
		log.Errorf("sched.cf: %v; no quota holds", err)
		return nil
	}
	if len(p.Quotas) == 0 {
		return nil
	}
	q := &quotas{policy: p, tables: make([]table.Maps, len(p.Tables))}
	if q.mapper, err = address.NewMapper(cfg, open); err != nil {
		log.Warnf("%v", err)
	}
	asked := p.QuotaTables()
	for i, spec := range p.Tables {
		for _, s := range asked {
			if s != spec {
				continue
			}
			if q.tables[i], err = table.Open([]string{spec}, address.TableOptions(cfg, open)); err != nil {
				log.Warnf("sched.cf: %v; recipients whose quota depends on it get 451", err)
			}
		}
	}
	return q
}

// full returns the refusal of a recipient of whose quotas one is used up, or the zero reply.
func (f *front) full(sender, rcpt mail.Address) reply {
	q, full := f.set.quotas, &f.service.server.full
	if q == nil || !full.some.Load() {
		return reply{}
	}
	ctx := context.Background() // tables are in memory
	facts := policy.Facts{Listener: f.service.line, SASLUser: f.client.SASLUser, ClientAddress: f.client.Addr}
	if q.mapper != nil {
		var err error
		if sender, err = q.mapper.Canonical(ctx, sender, address.EnvelopeSender); err != nil {
			return temporary(rcpt)
		}
	}
	facts.Sender = strings.ToLower(string(sender))
	facts.SenderDomain = mail.Address(facts.Sender).Domain()
	facts.Rcpt = strings.ToLower(string(rcpt))
	facts.RcptDomain = mail.Address(facts.Rcpt).Domain()
	if q.policy.QuotasRoute() {
		rt, err := f.set.access.resolver.Resolve(ctx, sender, rcpt)
		if err != nil {
			return temporary(rcpt)
		}
		facts.Transport, facts.NextHop, facts.Class = rt.Transport, strings.ToLower(rt.NextHop), rt.Class.String()
	}
	var room [4]policy.Keyed
	keys, need := q.policy.QuotasOf(&facts, room[:0])
	for n := 0; need != nil; n++ {
		if n == lookupsMax || !q.provide(&facts, need) {
			return temporary(rcpt)
		}
		keys, need = q.policy.QuotasOf(&facts, room[:0])
	}
	for _, k := range keys {
		name := q.policy.Quotas[k.Quota].Name
		if !full.has(name, k.Key) {
			continue
		}
		of := q.policy.QuotaKey(k)
		if of != "" {
			of = " of " + of
		}
		return reply{452, "4.3.1", fmt.Sprintf("<%s>: Recipient address rejected: queue quota %s%s is used up, try again later", rcpt.External(), name, of)}
	}
	return reply{}
}

// lookupsMax is how many lookups the quotas of one recipient may ask for.
const lookupsMax = 100

// provide adds what a table says; false when it cannot be asked.
func (q *quotas) provide(f *policy.Facts, need *policy.Need) bool {
	if need.MX {
		return false
	}
	for _, key := range need.Keys {
		v, found, err := q.tables[need.Table].Lookup(context.Background(), key)
		if err != nil {
			return false
		}
		if found {
			f.Answers = append(f.Answers, need.Answer(v, true))
			return true
		}
	}
	f.Answers = append(f.Answers, need.Answer("", false))
	return true
}

func temporary(rcpt mail.Address) reply {
	return reply{451, "4.3.0", "<" + rcpt.External() + ">: Temporary lookup failure"}
}
