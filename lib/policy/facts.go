package policy

import (
	"time"

	"postrider/lib/mail"
)

// Facts are what is known of one recipient of a message when it is decided on. Addresses
// and domains are in lower case.
type Facts struct {
	Sender, SenderDomain string // "" for the null sender
	Rcpt, RcptDomain     string
	Transport, NextHop   string // as main.cf routes
	Class                string // of the address: "local", "relay", "default"
	// MXGroup is the group of the next hop's mail hosts. It counts only with MXKnown; a
	// next hop that is no name has the group "".
	MXGroup       string
	MXKnown       bool
	SourceKind    string // user, dsn, report or auto
	Listener      string // the line of master.cf that took the message, "" for local mail
	SASLUser      string
	ClientAddress string
	Priority      int // RFC 6710, -9 to 9
	HasPriority   bool
	Size          int64
	Age           time.Duration
	Attempts      int    // failed ones of this recipient
	LastClass     string // of the last failure: see doc/policy.md; "" before one
	Headers       []Header
	Answers       []Answer // of lookups that Decide asked for

	// Worked out by Decide from the others.
	tenant, campaign, queue string
	priority                int
}

// Header is a header field that was captured.
type Header = mail.Header

// Answer is what a table said.
type Answer struct {
	Table int // in Policy.Tables
	Keys  string
	Value string
	Found bool
}

// Need is what Decide lacks. Either MX, or a table's answer.
type Need struct {
	MX    bool     // the mx_group of NextHop
	Table int      // in Policy.Tables
	Keys  []string // as lookup was called; looked up in order, or the parameters of a query
}

// Answer returns what to append to Facts.Answers for n.
func (n *Need) Answer(value string, found bool) Answer {
	return Answer{Table: n.Table, Keys: joinKeys(n.Keys), Value: value, Found: found}
}

// Decision is what a policy says of one recipient. The zero Decision is Postfix's
// behaviour.
type Decision struct {
	Rule                                 int // in Policy.Rules
	Queue, Schedule, Pool, Route, Window int // in the lists of Policy
	Level                                Level
	Limits                               []LimitKey
}

// LimitKey is a limit that holds for a recipient, and what it shares it with.
type LimitKey struct {
	Limit int // in Policy.Limits
	// Key is the value of the only key, or of all of them, each followed by a NUL; "" for
	// a limit without keys. Names it for operators: KeyText.
	Key string
}
