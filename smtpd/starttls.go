package smtpd

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"postrider/lib/config"
	"postrider/lib/maillog"
	"postrider/lib/tlsconf"
)

// tlsSettings are those parameters of a service that are about TLS. The zero value is no TLS.
type tlsSettings struct {
	level    string // "may", "encrypt", or ""
	wrap     bool   // smtpd_tls_wrappermode
	authOnly bool
	header   bool
	logLevel int
	timeout  time.Duration
	config   *tls.Config // nil: there is no certificate that could be used
}

// protection is what is known of a session under TLS.
type protection struct{ text, more string }

// parts are protocol, cipher and bits of a session; those of one in the clear are none.
func (p *protection) parts() (protocol, cipher, bits string) {
	if p == nil {
		return "", "", "0"
	}
	if w := strings.Fields(p.text); len(w) >= 5 { // "TLSv1.3 with cipher NAME (256/256 bits)"
		bits, _, _ = strings.Cut(strings.TrimPrefix(w[4], "("), "/")
		return w[0], w[3], bits
	}
	return "", "", "0"
}

func newTLS(cfg *config.Config, read tlsconf.Reader, log *maillog.Logger) (t tlsSettings) {
	if !tlsconf.Server(cfg) {
		return t
	}
	t = tlsSettings{
		level:    tlsconf.ServerLevel(cfg),
		wrap:     cfg.Bool("smtpd_tls_wrappermode"),
		authOnly: cfg.Bool("smtpd_tls_auth_only") || tlsconf.ServerLevel(cfg) == "encrypt",
		header:   cfg.Bool("smtpd_tls_received_header"),
		logLevel: cfg.Int("smtpd_tls_loglevel"),
		timeout:  cfg.Duration("smtpd_starttls_timeout"),
	}
	// Go takes care of the rest: its suites, no renegotiation, tickets under keys that change.
	conf := &tls.Config{}
	protocols := "smtpd_tls_protocols"
	if t.level == "encrypt" {
		protocols = "smtpd_tls_mandatory_protocols"
	}
	conf.MinVersion, conf.MaxVersion, _ = config.TLSVersions(cfg.String(protocols)) // was checked
	pairs := tlsconf.Pairs(cfg, "smtpd_")
	for _, pair := range pairs {
		certs, err := pair.Load(read)
		if err != nil {
			log.Warnf("cannot get certificate and key: %v: no TLS with it", err)
		}
		conf.Certificates = append(conf.Certificates, certs...)
	}
	switch {
	case len(conf.Certificates) > 0:
		t.config = conf
	case len(pairs) == 0:
		log.Warnf("No server certs available. TLS won't be enabled: set smtpd_tls_chain_files, or smtpd_tls_cert_file and smtpd_tls_key_file")
	}
	return t
}

// startTLS is RFC 3207, section 4.
func (f *front) startTLS(arg []byte) reply {
	t := &f.set.tls
	switch {
	case len(arg) > 0:
		return reply{501, "5.5.4", "Syntax: STARTTLS"}
	case f.tls != nil:
		return reply{554, "5.5.1", "Error: TLS already active"}
	case t.level == "":
		return reply{502, "5.5.1", "Error: command not implemented"}
	case t.config == nil:
		return reply{454, "4.7.0", "TLS not available due to local problem"}
	}
	// Nothing is buffered that came in the clear: command has refused it (CVE-2011-0411).
	f.put(reply{220, "2.0.0", "Ready to start TLS"})
	if err := f.out.Flush(); err != nil {
		f.lost(err)
		return reply{}
	}
	if f.handshake() {
		f.counts[startTLS].ok++
	}
	return reply{}
}

// handshake turns the connection into TLS. What is known of the client from before is
// forgotten. When that fails the session is over.
func (f *front) handshake() bool {
	t := &f.set.tls
	if t.config == nil {
		f.log.Warnf("Wrapper-mode request dropped from %s[%s] for service %s. TLS context initialization failed. For details see earlier warnings in your logs.",
			f.client.Name, f.client.Addr, f.service.name)
		f.closed = true
		return false
	}
	conn := tls.Server(f.raw, t.config)
	f.raw.SetDeadline(time.Now().Add(t.timeout))
	if err := conn.Handshake(); err != nil {
		f.handshakeError(err)
		return false
	}
	f.raw.SetDeadline(time.Time{})
	f.conn = conn
	f.in.Switch(conn)
	f.out.Switch(conn)
	f.tx = nil
	f.client.Helo, f.client.Protocol = "", "SMTP"
	f.client.SASLMethod, f.client.SASLUser = "", ""
	cs := conn.ConnectionState()
	f.tls = &protection{}
	f.tls.text, f.tls.more = tlsconf.Describe(&cs)
	if t.logLevel > 0 {
		f.log.Infof("Anonymous TLS connection established from %s[%s]: %s", f.client.Name, f.client.Addr, strings.TrimSpace(f.tls.text+" "+f.tls.more))
	}
	return true
}

func (f *front) handshakeError(err error) {
	var no syscall.Errno
	lost := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case lost:
		f.log.Infof("SSL_accept error from %s[%s]: lost connection", f.client.Name, f.client.Addr)
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.log.Infof("SSL_accept error from %s[%s]: Connection timed out", f.client.Name, f.client.Addr)
	case errors.As(err, &no):
		f.log.Infof("SSL_accept error from %s[%s]: %v", f.client.Name, f.client.Addr, no)
	default:
		f.log.Infof("SSL_accept error from %s[%s]: -1", f.client.Name, f.client.Addr)
		f.log.Warnf("TLS library problem: %s", strings.TrimPrefix(err.Error(), "tls: "))
	}
	f.log.Event(maillog.LostConnection{Client: f.client, After: f.where})
	f.closed = true
}

// offer is the reply to EHLO.
func (f *front) offer() string {
	if f.set.tls.level == "" && f.set.sasl.server == nil && !f.mayVERP() {
		return f.set.ehloPlain
	}
	text := f.set.ehlo
	if f.tls == nil && f.set.tls.level != "" && f.set.tls.config != nil {
		text += "\nSTARTTLS"
	}
	if list := f.mechanisms(); len(list) > 0 {
		text += "\nAUTH " + strings.Join(list, " ")
		if f.set.sasl.broken {
			text += "\nAUTH=" + strings.Join(list, " ")
		}
	}
	if f.mayVERP() {
		text += "\nXVERP"
	}
	return text + f.set.ehloRest
}
