package sasl

import (
	"slices"
	"strings"
)

// Options are what a mechanism must not do (smtp_sasl_security_options).
type Options uint8

// The options.
const (
	NoPlaintext  Options = 1 << iota // show the password to who listens
	NoActive                         // fall to one who stands between
	NoDictionary                     // let who listens try passwords
	NoAnonymous                      // let somebody in without a name
	MutualAuth                       // take the server's identity on trust
)

var optionNames = []string{"noplaintext", "noactive", "nodictionary", "noanonymous", "mutual_auth"}

// ParseOptions reads a value of smtp_sasl_security_options; what it does not know it
// leaves out.
func ParseOptions(words []string) (o Options) {
	for i, name := range optionNames {
		if slices.Contains(words, name) {
			o |= 1 << i
		}
	}
	return o
}

// flaws are what is wrong with a mechanism, as Cyrus SASL has it. What is not listed may do
// anything.
var flaws = map[string]Options{
	"SCRAM-SHA-256": NoDictionary,
	"SCRAM-SHA-1":   NoDictionary,
	"PLAIN":         NoPlaintext | NoActive | NoDictionary | MutualAuth,
	"LOGIN":         NoPlaintext | NoActive | NoDictionary | MutualAuth,
	"CRAM-MD5":      NoActive | NoDictionary | MutualAuth,
	"DIGEST-MD5":    NoDictionary,
	"OAUTHBEARER":   NoPlaintext | NoActive | MutualAuth,
	"XOAUTH2":       NoPlaintext | NoActive | MutualAuth,
}

const every = NoPlaintext | NoActive | NoDictionary | NoAnonymous | MutualAuth

// Allow says whether a mechanism may be used under o.
func (o Options) Allow(mechanism string) bool {
	bad, known := flaws[strings.ToUpper(mechanism)]
	if !known {
		bad = every
	}
	return bad&o == 0
}
