package smtp

import (
	"context"
	"encoding/base64"
	"strings"

	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/sasl"
	"postrider/lib/table"
)

// saslSettings are those parameters of a service that are about logging in.
type saslSettings struct {
	passwords table.Maps
	bySender  bool // smtp_sender_dependent_authentication
	filter    []string
	soft      bool // smtp_sasl_auth_soft_bounce

	plain, tls, verified sasl.Options
}

func newSASL(p params, f files, log *maillog.Logger) saslSettings {
	s := saslSettings{
		bySender: p.has("sender_dependent_authentication"),
		filter:   p.words("sasl_mechanism_filter"),
		soft:     p.has("sasl_auth_soft_bounce"),
		plain:    sasl.ParseOptions(p.words("sasl_security_options")),
		tls:      sasl.ParseOptions(p.words("sasl_tls_security_options")),
		verified: sasl.ParseOptions(p.words("sasl_tls_verified_security_options")),
	}
	if !p.has("sasl_auth_enable") {
		s.bySender = false
		return s
	}
	var err error
	if s.passwords, err = table.Open(p.words("sasl_password_maps"), table.Options{Open: f.open}); err != nil {
		log.Warnf("%v", err)
	}
	if len(s.passwords) == 0 {
		log.Warnf("%ssasl_auth_enable = yes without %ssasl_password_maps: nobody is logged in", p.prefix, p.prefix)
	}
	return s
}

// login is the name and the password for a server. The zero login is none.
type login struct{ user, password string }

// String names the user alone.
func (l login) String() string { return l.user }

// login looks up what to log in to a server with: by the sender where that is asked for, by
// the server's name, and by the next hop as it is written.
func (s *saslSettings) login(sender mail.Address, host, nextHop string) (login, error) {
	if len(s.passwords) == 0 {
		return login{}, nil
	}
	keys := []string{host, nextHop}
	if s.bySender && sender != "" {
		keys = []string{string(sender), "@" + sender.Domain(), host, nextHop}
	}
	v, ok, err := s.passwords.First(context.Background(), keys) // tables are in memory
	if err != nil || !ok {
		return login{}, err
	}
	var l login
	l.user, l.password, _ = strings.Cut(v, ":")
	return l, nil
}

// maxSteps bounds the questions of a login.
const maxSteps = 10

// authenticate logs in (RFC 4954). When that fails, the mail waits.
func (s *session) authenticate(in login) (mail.Status, bool) {
	o := s.st.sasl.plain
	switch {
	case s.verified:
		o = s.st.sasl.verified
	case s.tls:
		o = s.st.sasl.tls
	}
	fail := func(why string) (mail.Status, bool) {
		s.listens = true
		return mail.Status{Class: mail.Deferred, DSN: "4.7.0",
			Text: "SASL authentication failed; cannot authenticate to server " + s.name + ": " + why}, false
	}
	mechanism := sasl.Choose(s.mechs, s.st.sasl.filter, o)
	if mechanism == "" {
		s.st.log.Warnf("SASL authentication failure: No worthy mechs found (%s offers %s)", s.name, strings.Join(s.mechs, " "))
		return fail("no mechanism available")
	}
	c, err := sasl.NewClient(mechanism, in.user, in.password)
	if err != nil {
		return fail(err.Error())
	}
	_, first, err := c.Start()
	if err != nil {
		return fail("cannot begin " + mechanism)
	}
	s.secret = true
	defer func() { s.secret = false }()
	command := "AUTH " + mechanism
	secrets := []string{in.password}
	if first != nil {
		command += " " + encode(first)
		secrets = append(secrets, encode(first))
	}
	err = s.ask(s.st.timeout.mail, command)
	for range maxSteps {
		if err != nil || s.reply.Code != 334 {
			break
		}
		challenge, bad := base64.StdEncoding.DecodeString(strings.TrimSpace(s.reply.Text()))
		var answer []byte
		if bad == nil {
			answer, bad = c.Next(challenge)
		}
		if bad != nil {
			if err = s.ask(s.st.timeout.mail, "*"); err != nil {
				break
			}
			return fail("invalid challenge for " + mechanism)
		}
		secrets = append(secrets, encode(answer))
		err = s.ask(s.st.timeout.mail, encode(answer))
	}
	switch {
	case err != nil:
		return s.broken(auth, err), false
	case s.reply.Code/100 == 2 && c.Done():
		return mail.Status{}, true
	case s.reply.Code/100 == 2:
		return fail("it did not prove that it knows the password")
	}
	bad := s.refusal()
	bad.Diag = conceal(bad.Diag, secrets)
	bad.Text = "SASL authentication failed; server " + s.name + " said: " + bad.Diag
	if s.st.sasl.soft {
		bad = soften(bad)
	}
	return bad, false
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// conceal takes out of a server's words what it should not have repeated.
func conceal(text string, secrets []string) string {
	for _, s := range secrets {
		if len(s) > 3 {
			text = strings.ReplaceAll(text, s, "[hidden]")
		}
	}
	return text
}
