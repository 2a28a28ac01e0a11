package policy

// Keyed is a quota that holds for a recipient, and what it shares it with.
type Keyed struct {
	Quota int // in Policy.Quotas
	Key   string
}

// QuotasOf appends the quotas that hold for a recipient. Of f it reads only what is known
// when RCPT TO is answered; what the quotas ask of tables has to be among f.Answers, or is
// what it returns a Need for. So smtpd, which asks, and qmgr, which counts, come to the
// same keys.
func (p *Policy) QuotasOf(f *Facts, to []Keyed) ([]Keyed, *Need) {
	if p == nil || len(p.Quotas) == 0 {
		return to, nil
	}
	r := run{p: p, f: f}
	f.queue, f.tenant, f.campaign, f.priority = "", "", "", 0
	if p.ready.quotas.tenant {
		f.tenant = r.value(p.Tenant)
	}
	if p.ready.quotas.campaign {
		f.campaign = r.value(p.Campaign)
	}
	for i := range p.Quotas {
		q := &p.Quotas[i]
		is := r.holds(q.When)
		if r.need != nil {
			break
		}
		if !is {
			continue
		}
		key := r.key(q.Keys)
		if r.need != nil {
			break
		}
		to = append(to, Keyed{i, key})
	}
	return to, r.need
}

// QuotaKey shows the key of a quota: "tenant=acme"; "" for one without keys.
func (p *Policy) QuotaKey(k Keyed) string { return keyText(p.Quotas[k.Quota].Keys, k.Key) }

// QuotasRoute says whether a quota looks at where main.cf routes its recipient.
func (p *Policy) QuotasRoute() bool { return p != nil && p.ready.quotas.route }

// QuotaTables returns the tables that quotas ask.
func (p *Policy) QuotaTables() (list []string) {
	for i, is := range p.ready.quotas.tables {
		if is {
			list = append(list, p.Tables[i])
		}
	}
	return list
}

// quotaNeeds are what the quotas of a policy look at.
type quotaNeeds struct {
	tenant, campaign, route bool
	tables                  []bool // by Policy.Tables
}

// noteQuotas finds out what the quotas look at. The policy is checked.
func (p *Policy) noteQuotas() {
	n := &p.ready.quotas
	n.tables = make([]bool, len(p.Tables))
	var note func(Expr)
	note = func(e Expr) {
		for i := range e {
			switch x := &e[i]; x.Op {
			case OpLookup:
				n.tables[x.Num] = true
			case OpFact:
				switch Fact(x.Num) {
				case Tenant:
					if !n.tenant {
						n.tenant = true
						note(p.Tenant)
					}
				case Campaign:
					if !n.campaign {
						n.campaign = true
						note(p.Campaign)
					}
				case Transport, NextHop, AddressClass:
					n.route = true
				}
			}
		}
	}
	for i := range p.Quotas {
		note(p.Quotas[i].When)
		for _, k := range p.Quotas[i].Keys {
			note(k)
		}
	}
}
