package sasl

// Server knows the passwords.
type Server interface {
	// Mechanisms are those it offers now, for EHLO.
	Mechanisms() []string
	// Start begins a login. initial is the response that came with AUTH, nil when there was
	// none, which is not the same as an empty one.
	Start(mechanism string, from Peer, initial []byte) (Session, Step)
}

// Session is a login under way: one whose Step was Continue.
type Session interface {
	// Next takes the client's answer to the challenge.
	Next(response []byte) Step
	// Cancel gives it up.
	Cancel()
}

// Peer is what is said of the client, and of our end, to who decides.
type Peer struct {
	Service       string // smtpd_sasl_service
	Local, Remote string // addresses
	TLS           bool
}

// Outcome is how far a login is.
type Outcome uint8

// The outcomes.
const (
	Refused   Outcome = iota // the name or the password is wrong; Reason says what may be said
	Continue                 // Challenge is to be answered
	Accepted                 // User is logged in
	Temporary                // nobody can tell now; Reason says why
)

// Step is what comes of a response.
type Step struct {
	Outcome   Outcome
	Challenge []byte
	User      string
	Reason    string
}
