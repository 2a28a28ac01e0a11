package policy

import (
	"net/netip"
	"time"

	"postrider/lib/mail"
)

// Policy is a compiled sched.cf. It does not change after Check.
type Policy struct {
	Queues    []Queue    // [0]: "default", what no rule leads elsewhere
	Schedules []Schedule // [0]: "default", Postfix's unless one of this name is declared
	Sources   []Source   // [0]: "unspecified", the address that the kernel chooses
	Pools     []Pool     // [0]: "unspecified", with source 0 alone
	Routes    []Route    // [0]: "default", as main.cf routes
	Windows   []Window   // [0]: "always"
	Limits    []Limit    // all that apply hold together
	Quotas    []Quota
	Providers []Provider // the first that has the host name of an MX names its mx_group
	Rules     []Rule     // the first whose condition holds decides; the last has none

	Priorities bool          // whether levels count at all
	Aging      time.Duration // priority_aging: waiting so long counts as one level more; 0: never

	Tenant, Campaign Expr // the facts of these names; nil: ""
	// SendAt and ExpireAt give the text of a time (ParseTime) before which the message is
	// not tried, and after which it is given up; nil: none.
	SendAt, ExpireAt Expr
	Priority         Expr // the fact "priority" when the client gave none; nil: none

	Headers  []string // names, in lower case, that cleanup captures for header[...]
	Tables   []string // what lookup asks: "type:name"
	Patterns []string // regular expressions of matches
	Prefixes []string // networks of cidr

	ready *ready // made by Check
}

// Level is a priority level. Higher ones go first.
type Level uint8

// The levels; NoLevel in a rule leaves that of the queue, in a queue it is Normal.
const (
	NoLevel Level = iota
	Low
	Normal
	High
	Critical
)

func (l Level) String() string {
	return [...]string{"", "low", "normal", "high", "critical"}[l]
}

// Queue is a class of mail that waits and runs by itself.
type Queue struct {
	Name   string
	Slots  int   // deliveries at once, over all transports; 0: no limit
	Level  Level // never NoLevel
	Weight int   // its part among the queues of its level, at least 1
	Share  int   // percent of a transport's starts that are its own whatever the levels above want; -1: the scheduler's default
}

// Schedule says when mail is tried again, when its sender hears of the delay and when it is
// given up.
type Schedule struct {
	Name string
	// One of three forms. All empty: Postfix's, by minimal_backoff_time and
	// maximal_backoff_time, with main.cf's lifetimes where Expire and MaxAttempts are 0.
	Retry       []time.Duration // from one failure to the next attempt; the last repeats
	Interval    time.Duration   // retry_interval: doubles from failure to failure ...
	MaxInterval time.Duration   // ... up to this; 0: without end
	Tiers       []Tier          // beside Retry or Interval, by After ascending: the last with After <= failures holds

	Jitter      int             // percent of a delay that chance adds; -1: the scheduler's default
	Notify      []time.Duration // delay notices, from arrival, each once, ascending
	NoNotify    bool            // no notice at all: Notify is not main.cf's delay_warning_time
	Expire      time.Duration   // from arrival; 0: no such limit
	MaxAttempts int             // attempts; 0: no such limit. Never with Expire
	Window      int             // in Policy.Windows: when attempts may start
}

// Tier is a slower pace after some failures.
type Tier struct {
	Name  string
	After int           // failed attempts, at least 1
	Every time.Duration // from now on
}

// Source is an address that mail leaves from.
type Source struct {
	Name        string
	Addresses   []netip.Addr // at most one IPv4 and one IPv6; none: the kernel chooses
	EHLO        string       // "": smtp_helo_name
	Connections int          // deliveries at once from it; 0: no limit
}

// Pool is sources that take turns.
type Pool struct {
	Name    string
	Members []Member
}

// Member is one source of a pool.
type Member struct {
	Source int // in Policy.Sources
	Weight int // at least 1
}

// RouteKind says where a route leads.
type RouteKind uint8

// The kinds of routes.
const (
	RouteDefault RouteKind = iota // as main.cf routes
	RouteHops                     // to Hops, in order
	RouteMaildir                  // into the maildir at Path
	RouteError                    // to its sender, with Status
	RouteDiscard                  // nowhere; Status says so in the log
)

// Route is where mail goes instead of where main.cf leads it.
type Route struct {
	Name      string
	Kind      RouteKind
	LMTP      bool   // RouteHops: the protocol
	Transport string // RouteHops: the line of master.cf that delivers; "": smtp or lmtp
	Hops      []Hop  // RouteHops
	Path      string // RouteMaildir: absolute, may hold MaildirNames
	Status    mail.Status
	// Connections is how many deliveries at once go to one recipient domain; 0: no limit.
	// LMTP has 10 unless the policy says otherwise.
	Connections int
}

// Service is the line of master.cf that delivers, "" when none is needed, or main.cf's is.
func (r *Route) Service() string {
	switch {
	case r.Kind == RouteMaildir:
		return "local"
	case r.Kind != RouteHops:
		return ""
	case r.Transport != "":
		return r.Transport
	case r.LMTP:
		return "lmtp"
	}
	return "smtp"
}

// MaildirNames are what the path of a maildir may hold as $name, as in the parameters of
// local(8): each stands for one part of the recipient's address, or for the sender.
var MaildirNames = []string{"user", "extension", "local", "domain", "recipient", "sender"}

// Hop is one next hop of a route. It has a name, an address or both.
type Hop struct {
	Name string     // looked up (A, AAAA) when there is no Addr; else for TLS and the log
	Addr netip.Addr // connected to when valid
	Port uint16     // 0: the protocol's
	Path string     // LMTP: a Unix socket; alone
}

// Rate is so many in a time, held by a generic cell rate algorithm.
type Rate struct {
	Count int64
	Per   time.Duration
	Burst int64 // may come at once; at least 1
}

// Limit bounds what shares a key.
type Limit struct {
	Name        string
	Keys        []Expr // text expressions; the tuple of their values is the key. None: one key for all
	PerSource   bool   // the key holds the egress source, too: the scheduler adds it
	When        Expr   // nil: always
	Rates       []Rate
	Connections int // deliveries at once; 0: no limit
}

// Quota bounds how many messages of a key are in the queue; RCPT is refused with 452 beyond.
type Quota struct {
	Name     string
	Keys     []Expr // of facts that are known at RCPT TO
	When     Expr   // nil: always
	Messages int64
}

// Provider names the mx_group of all hosts under some domains.
type Provider struct {
	Name string
	MX   []string // domains in lower case: a host is of them when it is one or ends with "." and one
}

// Rule leads the mail for which its condition holds.
type Rule struct {
	Name string // its label, or ""
	Pos  string // "sched.cf:12", for operators
	When Expr   // nil: always
	Text string // the condition as written
	// Indexes in the lists of Policy; 0: default. Window 0 leaves the schedule's.
	Queue, Schedule, Pool, Route, Window int
	Level                                Level // NoLevel: the queue's
}

// New returns the policy of an empty sched.cf: Postfix's behaviour.
func New() *Policy {
	return &Policy{
		Queues:     []Queue{{Name: "default", Level: Normal, Weight: 1, Share: -1}},
		Schedules:  []Schedule{{Name: "default", Jitter: -1}},
		Sources:    []Source{{Name: "unspecified"}},
		Pools:      []Pool{{Name: "unspecified", Members: []Member{{Source: 0, Weight: 1}}}},
		Routes:     []Route{{Name: "default"}},
		Windows:    []Window{{Name: "always"}},
		Priorities: true,
		Aging:      DefaultAging,
	}
}

// DefaultAging is priority_aging unless sched.cf says otherwise.
const DefaultAging = 5 * time.Minute
