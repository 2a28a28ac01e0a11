package policy

// Fact names a fact in an Expr. The numbers are part of the binary form.
type Fact int64

// The facts.
const (
	Sender Fact = iota + 1
	SenderDomain
	Rcpt
	RcptDomain
	MXGroup
	Tenant
	Campaign
	SourceKind
	Listener
	SASLUser
	ClientAddress
	LastClass
	Transport
	NextHop
	AddressClass
	QueueName // of the decision, in limits
	PriorityOf
	Size // bytes
	Age  // nanoseconds
	Attempts
	factEnd
)

// FactInfo is what the language knows of a fact.
type FactInfo struct {
	Fact   Fact
	Name   string
	Kind   Kind
	Folded bool // in lower case
	Early  bool // known at RCPT TO
	Help   string
}

// Catalogue are all facts, as doc/policy.md lists them.
var Catalogue = []FactInfo{
	{Sender, "sender", Text, true, true, "envelope sender; empty for bounces"},
	{SenderDomain, "sender_domain", Text, true, true, "what stands behind its @"},
	{Rcpt, "rcpt", Text, true, true, "the recipient"},
	{RcptDomain, "rcpt_domain", Text, true, true, "what stands behind its @"},
	{MXGroup, "mx_group", Text, true, false, "provider of the mail hosts of the next hop: a declared provider, or the registered domain of its best MX host"},
	{Tenant, "tenant", Text, false, false, "as the block facts says"},
	{Campaign, "campaign", Text, false, false, "as the block facts says"},
	{SourceKind, "source_kind", Text, true, false, "user, dsn (bounces and delay notices), report (multipart/report, feedback), auto (Auto-Submitted, Precedence: bulk, list or junk)"},
	{Listener, "listener", Text, true, true, "service of master.cf that took it: smtp, submission; empty for local mail"},
	{SASLUser, "sasl_user", Text, false, true, "who logged in"},
	{ClientAddress, "client_address", Text, true, true, "IP address of the client; empty for local mail"},
	{LastClass, "last_class", Text, true, false, "of the last failure: dns, connection, tls, reply, mailbox, system, policy, other; empty before one"},
	{Transport, "transport", Text, false, true, "service of master.cf that main.cf routes to"},
	{NextHop, "nexthop", Text, true, true, "where main.cf routes to"},
	{AddressClass, "address_class", Text, true, true, "of rcpt: local, relay or default"},
	{QueueName, "queue", Text, false, false, "the queue that was decided on (limits only)"},
	{PriorityOf, "priority", Number, false, false, "MT-PRIORITY of the client, or as the block facts says: -9 to 9, usually 0"},
	{Size, "size", Number, false, false, "bytes, headers included; write 10485760 or \"10MB\""},
	{Age, "age", Number, false, false, "time since arrival; write \"4h\""},
	{Attempts, "attempts", Number, false, false, "failed attempts of this recipient"},
}

// info returns the entry of a fact, nil when there is none.
func (f Fact) info() *FactInfo {
	if f < 1 || f >= factEnd {
		return nil
	}
	return &Catalogue[f-1]
}

// fact returns a text fact.
func (r *run) fact(x Fact) string {
	f := r.f
	switch x {
	case Sender:
		return f.Sender
	case SenderDomain:
		return f.SenderDomain
	case Rcpt:
		return f.Rcpt
	case RcptDomain:
		return f.RcptDomain
	case MXGroup:
		if !f.MXKnown && r.need == nil {
			r.need = &Need{MX: true}
		}
		return f.MXGroup
	case Tenant:
		return f.tenant
	case Campaign:
		return f.campaign
	case SourceKind:
		return f.SourceKind
	case Listener:
		return f.Listener
	case SASLUser:
		return f.SASLUser
	case ClientAddress:
		return f.ClientAddress
	case LastClass:
		return f.LastClass
	case Transport:
		return f.Transport
	case NextHop:
		return f.NextHop
	case AddressClass:
		return f.Class
	case QueueName:
		return f.queue
	}
	return ""
}

// count returns a number fact.
func (r *run) count(x Fact) int64 {
	switch x {
	case PriorityOf:
		return int64(r.f.priority)
	case Size:
		return r.f.Size
	case Age:
		return int64(r.f.Age)
	case Attempts:
		return int64(r.f.Attempts)
	}
	return 0
}

// header returns the value of a captured field, the first of its name.
func (f *Facts) header(name string) string {
	for i := range f.Headers {
		if f.Headers[i].Name == name {
			return f.Headers[i].Value
		}
	}
	return ""
}
