package sasl

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

// Client is one login under way.
type Client interface {
	// Start returns the mechanism and what goes with it; nil is nothing, which is not the
	// same as an empty response.
	Start() (mechanism string, initial []byte, err error)
	// Next answers a challenge.
	Next(challenge []byte) ([]byte, error)
	// Done says whether the server's yes may be believed.
	Done() bool
}

// ErrChallenge is the kind of error for a server that asks what the mechanism does not know,
// or that does not prove to know the password.
var ErrChallenge = errors.New("sasl: bad challenge of the server")

// mechanisms are those of NewClient, the best first.
var mechanisms = []string{"SCRAM-SHA-256", "PLAIN", "LOGIN"}

// Choose returns the best mechanism of those that a server offers, or "". filter, if not
// empty, are those that may be used at all.
func Choose(offered, filter []string, o Options) string {
	has := func(list []string, m string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, m) })
	}
	for _, m := range mechanisms {
		if has(offered, m) && (len(filter) == 0 || has(filter, m)) && o.Allow(m) {
			return m
		}
	}
	return ""
}

// NewClient begins a login by a mechanism that Choose returned.
func NewClient(mechanism, user, password string) (Client, error) {
	switch mechanism {
	case "PLAIN":
		return &plain{user: user, password: password}, nil
	case "LOGIN":
		return &login{answers: []string{user, password}}, nil
	case "SCRAM-SHA-256":
		c, err := scram.SHA256.NewClient(user, password, "")
		if err != nil {
			return nil, errors.New("sasl: the user name or the password has characters that SCRAM does not allow")
		}
		return &scrambled{conv: c.NewConversation()}, nil
	}
	return nil, errors.New("sasl: no mechanism " + mechanism)
}

// plain is RFC 4616.
type plain struct{ user, password string }

func (p *plain) Start() (string, []byte, error) {
	return "PLAIN", []byte("\x00" + p.user + "\x00" + p.password), nil
}
func (p *plain) Next([]byte) ([]byte, error) { return nil, ErrChallenge }
func (p *plain) Done() bool                  { return true }

// login is draft-murchison-sasl-login: the name, then the password, whatever the words of
// the questions are.
type login struct{ answers []string }

func (l *login) Start() (string, []byte, error) { return "LOGIN", nil, nil }
func (l *login) Next([]byte) ([]byte, error) {
	if len(l.answers) == 0 {
		return nil, ErrChallenge
	}
	a := l.answers[0]
	l.answers = l.answers[1:]
	return []byte(a), nil
}
func (l *login) Done() bool { return len(l.answers) == 0 }

// scrambled is RFC 5802 with SHA-256 (RFC 7677).
type scrambled struct {
	conv *scram.ClientConversation
	over bool
}

func (s *scrambled) Start() (string, []byte, error) {
	first, err := s.conv.Step("")
	return "SCRAM-SHA-256", []byte(first), err
}

// maxRounds bounds the work that a server can ask for: a second's worth.
const maxRounds = 1 << 20

func (s *scrambled) Next(challenge []byte) ([]byte, error) {
	if s.over {
		return nil, ErrChallenge
	}
	for part := range bytes.SplitSeq(challenge, []byte(",")) {
		if n, ok := bytes.CutPrefix(part, []byte("i=")); ok {
			if i, err := strconv.Atoi(string(n)); err != nil || i > maxRounds {
				return nil, ErrChallenge
			}
		}
	}
	answer, err := s.conv.Step(string(challenge))
	if err != nil {
		return nil, ErrChallenge
	}
	s.over = s.conv.Done()
	return []byte(answer), nil
}

func (s *scrambled) Done() bool { return s.conv.Done() && s.conv.Valid() }
