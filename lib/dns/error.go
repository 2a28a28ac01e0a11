package dns

import "errors"

// Kinds of failure. Every error of a Resolver is one of them. Their texts are those
// of the C library's resolver, as Postfix logs them.
//
//lint:file-ignore ST1005 these texts end up in Postfix's log lines
var (
	// ErrNotFound: the name does not exist, or has no such record.
	ErrNotFound = errors.New("Host not found")
	// ErrTemporary: no usable answer; another time there may be one.
	ErrTemporary = errors.New("Host not found, try again")
	// ErrNullMX: the domain takes no mail (RFC 7505).
	ErrNullMX = errors.New("null MX")
)

// Error is a failed lookup. Its text is Postfix's.
type Error struct {
	Kind     error  // ErrNotFound, ErrTemporary or ErrNullMX
	Name     string // what was asked for
	Type     string // "MX", "A", "AAAA"
	Reason   string // in the words of the C library's resolver
	NoDomain bool   // with ErrNotFound: the name itself does not exist (NXDOMAIN)
}

func (e *Error) Error() string {
	if e.Kind == ErrNullMX {
		return "Domain " + e.Name + " does not accept mail (nullMX)"
	}
	if e.Type == "" {
		return "Host or domain name not found. Name service error for " + e.Name + ": " + e.Reason
	}
	return "Host or domain name not found. Name service error for name=" + e.Name + " type=" + e.Type + ": " + e.Reason
}

// Unwrap makes errors.Is see the kind.
func (e *Error) Unwrap() error { return e.Kind }

func temporary(name, typ string) *Error {
	return &Error{Kind: ErrTemporary, Name: name, Type: typ, Reason: "Host not found, try again"}
}

func noDomain(name, typ string) *Error {
	return &Error{Kind: ErrNotFound, Name: name, Type: typ, Reason: "Host not found", NoDomain: true}
}

func noData(name, typ string) *Error {
	return &Error{Kind: ErrNotFound, Name: name, Type: typ, Reason: "Host found but no data record of requested type"}
}

func badName(name string) *Error {
	return &Error{Kind: ErrNotFound, Name: name, Reason: "invalid host or domain name", NoDomain: true}
}
