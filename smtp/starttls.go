package smtp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"postrider/lib/mail"
	"postrider/lib/tlsconf"
)

// secure begins TLS where the policy wants it (RFC 3207) and says EHLO again. The status
// says why the session does not come through that.
func (s *session) secure(t target, h hop, p *policy) (mail.Status, reach) {
	if p.level == levelNone {
		if s.st.tls.noteOffer {
			s.st.log.Infof("Host offered STARTTLS: [%s]", t.host)
		}
		return mail.Status{}, through
	}
	if !s.has(startsTLS) {
		if p.level >= levelEncrypt {
			return s.insist("TLS is required, but was not offered by host " + s.name), greeted
		}
		return mail.Status{}, through
	}
	if err := s.ask(s.st.timeout.startTLS, "STARTTLS"); err != nil {
		return s.broken(startTLS, err), greeted
	}
	if s.reply.Code/100 != 2 {
		if p.level >= levelEncrypt {
			return s.insist("TLS is required, but host " + s.name + " refused to start TLS: " + s.reply.String()), greeted
		}
		return mail.Status{}, through
	}
	if len(s.in.Buffered()) > 0 {
		// What came in the clear behind the reply must not pass for the server's words under
		// TLS (CVE-2011-0411).
		s.st.log.Warnf("host %s sent text behind its reply to STARTTLS", s.name)
		return mail.Status{Class: mail.Deferred, DSN: "4.7.5", Text: "Cannot start TLS: handshake failure"}, greeted
	}
	if bad, ok := s.handshake(t, h, p); !ok {
		return bad, noHandshake
	}
	if bad, ok := s.hello(s.st, t); !ok {
		return bad, greeted
	}
	return mail.Status{}, through
}

// insist is the status where TLS is a condition.
func (s *session) insist(text string) mail.Status {
	s.listens = true
	return mail.Status{Class: mail.Deferred, DSN: "4.7.4", Text: text}
}

// handshake turns the connection into TLS and looks at the server's certificate. ok is
// false when the session is over.
func (s *session) handshake(t target, h hop, p *policy) (bad mail.Status, ok bool) {
	conf := &tls.Config{
		MinVersion: p.lowest, MaxVersion: p.highest,
		ServerName: p.expand(p.serverName, t, h),
		// Whom to trust depends on the policy, and at level may nobody has to be.
		InsecureSkipVerify: true,
		Certificates:       s.st.tls.certs,
		ClientSessionCache: s.st.tls.cache,
	}
	conn := tls.Client(s.raw, conf)
	s.wait(s.st.timeout.startTLS)
	if err := conn.Handshake(); err != nil {
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.st.log.Infof("SSL_connect error to %s: Connection timed out", t.relay())
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			s.st.log.Infof("SSL_connect error to %s: lost connection", t.relay())
		case errors.As(err, new(syscall.Errno)):
			s.st.log.Infof("SSL_connect error to %s: %s", t.relay(), systemText(err))
		default:
			s.st.log.Infof("SSL_connect error to %s: -1", t.relay())
			s.st.log.Warnf("TLS library problem: %s", strings.TrimPrefix(err.Error(), "tls: "))
		}
		return mail.Status{Class: mail.Deferred, DSN: "4.7.5", Text: "Cannot start TLS: handshake failure"}, false
	}
	s.conn, s.tls = conn, true
	s.in.Switch(conn)
	cs := conn.ConnectionState()
	var why error
	word := "Untrusted"
	if p.level >= levelVerify || s.st.tls.logLevel > 0 {
		if why = s.trusted(&cs); why == nil {
			word = "Trusted"
		}
	}
	named := false
	if why == nil && p.level >= levelVerify {
		if named = p.names(cs.PeerCertificates[0], t, h); named {
			word, s.verified = "Verified", true
		}
	}
	if s.st.tls.logLevel > 0 {
		text, more := tlsconf.Describe(&cs)
		if more != "" {
			text += " " + more
		}
		s.st.log.Infof("%s TLS connection established to %s: %s", word, t.relay(), text)
	}
	if p.level < levelVerify || named {
		return mail.Status{}, true
	}
	s.listens = true
	bad = mail.Status{Class: mail.Deferred, DSN: "4.7.5"}
	if why != nil {
		bad.Text = "Server certificate not trusted"
		s.st.log.Infof("%s", certificateText(why, t.relay()))
	} else {
		bad.Text = "Server certificate not verified"
		s.st.log.Infof("server certificate verification failed for %s: num=62:hostname mismatch (the certificate is for %s)", t.relay(), holders(cs.PeerCertificates[0]))
	}
	return bad, false
}

// trusted says by whom the server's certificate is not vouched for, or nil.
func (s *session) trusted(cs *tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("no certificate")
	}
	o := x509.VerifyOptions{Roots: s.st.tls.roots(), Intermediates: x509.NewCertPool(), CurrentTime: time.Now()}
	for _, c := range cs.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := cs.PeerCertificates[0].Verify(o)
	return err
}

// expand puts names in the place of Postfix's words for them.
func (p *policy) expand(word string, t target, h hop) string {
	switch word {
	case "hostname":
		return strings.TrimSuffix(t.host, ".")
	case "nexthop":
		return strings.TrimSuffix(h.name, ".")
	case "dot-nexthop":
		return "." + strings.TrimSuffix(h.name, ".")
	}
	return word
}

// names says whether a certificate is for one of the names that the policy wants. One that
// begins with a dot stands for all names below it.
func (p *policy) names(c *x509.Certificate, t target, h hop) bool {
	for _, word := range p.match {
		name := p.expand(word, t, h)
		if strings.HasPrefix(name, ".") {
			for _, n := range c.DNSNames {
				if len(n) > len(name) && strings.EqualFold(n[len(n)-len(name):], name) {
					return true
				}
			}
			continue
		}
		if name != "" && c.VerifyHostname(name) == nil {
			return true
		}
	}
	return false
}

// holders are the names that a certificate is for, some of them.
func holders(c *x509.Certificate) string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no name"
	}
	if len(names) > 5 {
		names = append(names[:5], "...")
	}
	return strings.Join(names, ", ")
}

// certificateText says in Postfix's words why a certificate is not trusted.
func certificateText(err error, relay string) string {
	var (
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &unknown) && unknown.Cert != nil && unknown.Cert.Issuer.String() == unknown.Cert.Subject.String():
		return "certificate verification failed for " + relay + ": self-signed certificate"
	case errors.As(err, &unknown) && unknown.Cert != nil:
		return "certificate verification failed for " + relay + ": untrusted issuer " + unknown.Cert.Issuer.String()
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && time.Now().Before(invalid.Cert.NotBefore):
		return "server certificate verification failed for " + relay + ": certificate not yet valid"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "server certificate verification failed for " + relay + ": certificate has expired"
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return "certificate verification failed for " + relay + ": not designated for use as a server certificate"
	}
	return fmt.Sprintf("server certificate verification failed for %s: %v", relay, err)
}
