package command

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"postrider/test/ledger"
	"postrider/test/source"
)

// session is one of the source's, by go-smtp's client, which shares no code with Postrider
// and brings TLS and logins.
type session struct {
	*smtp.Client
	told func(error) // hears of each refusal
}

// dialer returns what opens a session as the options say. An error is that of --login.
func dialer(o *options, told func(error)) (func() (source.Sender, error), error) {
	host, _, _ := net.SplitHostPort(o.Server)
	secure := &tls.Config{ServerName: host, InsecureSkipVerify: o.Insecure}
	dial := smtp.Dial
	switch o.TLS {
	case "starttls":
		dial = func(addr string) (*smtp.Client, error) { return smtp.DialStartTLS(addr, secure) }
	case "smtps":
		dial = func(addr string) (*smtp.Client, error) { return smtp.DialTLS(addr, secure) }
	}
	user, password, err := login(o.Login)
	if err != nil {
		return nil, err
	}
	return func() (source.Sender, error) {
		c, err := dial(o.Server)
		if err != nil {
			return nil, err
		}
		c.CommandTimeout, c.SubmissionTimeout = 30*time.Second, time.Minute
		err = c.Hello("ledger." + o.Domain)
		if err == nil && user != "" {
			err = c.Auth(sasl.NewPlainClient("", user, password))
		}
		if err != nil {
			c.Close()
			return nil, err
		}
		return session{c, told}, nil
	}, nil
}

// login reads the line user:password of a file.
func login(file string) (user, password string, err error) {
	if file == "" {
		return "", "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	user, password, ok := strings.Cut(line, ":")
	if !ok || user == "" {
		return "", "", fmt.Errorf("%s: has no line user:password", file)
	}
	return user, password, nil
}

// Send sends one message and enters what it was told into the ledger. A refusal is no
// error; after an error the session is of no use.
func (s session) Send(m *source.Message, l *ledger.Ledger) (o source.Outcome, err error) {
	l.Attempt(m.ID, ledger.Hash(m.Content), m.Recipients...)
	accepted, err := s.envelope(m, l)
	if err != nil || len(accepted) == 0 {
		l.Rejected(m.ID, accepted...)
		return o, err
	}
	w, err := s.Data()
	if err != nil {
		l.Rejected(m.ID, accepted...)
		if err = s.refused(err); err == nil {
			err = s.refused(s.Reset())
		}
		return o, err
	}
	if _, err = bytes.NewReader(m.Content).WriteTo(w); err == nil {
		err = w.Close()
	}
	switch {
	case err == nil:
		o.Acked = accepted
		l.Acked(m.ID, accepted...)
	case replyOf(err) != nil:
		l.Rejected(m.ID, accepted...)
		err = s.refused(err)
	default: // the last bytes may have got there
		l.Unknown(m.ID, accepted...)
	}
	return o, err
}

// envelope returns the recipients that were taken; the others are entered as rejected.
func (s session) envelope(m *source.Message, l *ledger.Ledger) (accepted []string, err error) {
	if err := s.Mail(m.Sender, &smtp.MailOptions{Size: int64(len(m.Content))}); err != nil {
		l.Rejected(m.ID, m.Recipients...)
		return nil, s.refused(err)
	}
	for i, r := range m.Recipients {
		if err := s.Rcpt(r, nil); err == nil {
			accepted = append(accepted, r)
		} else if err := s.refused(err); err != nil {
			l.Rejected(m.ID, m.Recipients[i:]...)
			return accepted, err
		} else {
			l.Rejected(m.ID, r)
		}
	}
	if len(accepted) == 0 {
		err = s.refused(s.Reset())
	}
	return accepted, err
}

// refused returns err unless it is a reply: then the session goes on.
func (s session) refused(err error) error {
	if r := replyOf(err); r != nil && r.Code != 421 {
		s.told(err)
		return nil
	}
	return err
}

// replyOf returns the reply that an error is, or nil.
func replyOf(err error) (r *smtp.SMTPError) {
	errors.As(err, &r)
	return r
}

// hopeless says whether no session will ever be had: the login is refused, or the certificate.
func hopeless(err error) bool {
	var cert *tls.CertificateVerificationError
	r := replyOf(err)
	return r != nil && r.Code >= 500 || errors.As(err, &cert)
}

// Close says QUIT and closes.
func (s session) Close() error {
	s.CommandTimeout = time.Second
	if s.Quit() != nil {
		return s.Client.Close()
	}
	return nil
}

// Abort closes without a word.
func (s session) Abort() { s.Client.Close() }
