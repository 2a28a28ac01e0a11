package smtpd

import (
	"encoding/base64"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"

	"postrider/lib/config"
	"postrider/lib/daemon"
	"postrider/lib/maillog"
	"postrider/lib/sasl"
	"postrider/lib/tlsconf"
	"postrider/lib/wire"
)

// saslSettings are those parameters of a service that are about logins. The zero value is none.
type saslSettings struct {
	server     sasl.Server // nil: nobody can log in
	service    string
	plain, tls sasl.Options // what a mechanism must not do, without TLS and with it
	header     bool
	broken     bool // broken_sasl_auth_clients
	limit      int
}

// dovecots are the connections to auth servers, by smtpd_sasl_path; they outlive a reload.
type dovecots struct {
	d  *daemon.Daemon
	by map[string]*sasl.Dovecot
}

// pidStep is more than any process id, so that each connection has a number of its own.
const pidStep = 1 << 22

func (s *dovecots) of(path string) *sasl.Dovecot {
	if s.by[path] == nil {
		if s.by == nil {
			s.by = map[string]*sasl.Dovecot{}
		}
		s.by[path] = &sasl.Dovecot{PID: uint32(os.Getpid() + len(s.by)*pidStep), Warn: s.d.Log.Warnf, Dial: dialer(s.d, path)}
	}
	return s.by[path]
}

func newSASL(cfg *config.Config, read tlsconf.Reader, auth func(path string) *sasl.Dovecot, log *maillog.Logger) (s saslSettings) {
	if !cfg.Bool("smtpd_sasl_auth_enable") {
		return s
	}
	s = saslSettings{
		service: cfg.String("smtpd_sasl_service"),
		plain:   sasl.ParseOptions(cfg.List("smtpd_sasl_security_options")),
		tls:     sasl.ParseOptions(cfg.List("smtpd_sasl_tls_security_options")),
		header:  cfg.Bool("smtpd_sasl_authenticated_header"),
		broken:  cfg.Bool("broken_sasl_auth_clients"),
		limit:   cfg.Int("smtpd_sasl_response_limit"),
	}
	path := cfg.String("smtpd_sasl_path")
	switch cfg.String("smtpd_sasl_type") {
	case "dovecot":
		s.server = auth(path)
	case "file":
		text, err := read(path)
		if err != nil {
			log.Warnf("smtpd_sasl_path: %v: nobody can log in", err)
			return s
		}
		f, err := sasl.ParseFile(path, text, runtime.NumCPU())
		if err != nil {
			log.Warnf("%v", err)
		}
		s.server = f
	default:
		log.Warnf("unsupported SASL server implementation: %s: nobody can log in; set smtpd_sasl_type to dovecot or file", cfg.String("smtpd_sasl_type"))
	}
	return s
}

// mechanisms are those that the client may use now.
func (f *front) mechanisms() (list []string) {
	s := &f.set.sasl
	if s.server == nil || f.tls == nil && f.set.tls.authOnly {
		return nil
	}
	o := s.plain
	if f.tls != nil {
		o = s.tls
	}
	for _, m := range s.server.Mechanisms() {
		if o.Allow(m) && m != "EXTERNAL" {
			list = append(list, m)
		}
	}
	return list
}

// auth is RFC 4954. It asks the client what the mechanism asks, and does not come back before
// the login has succeeded or failed.
func (f *front) auth(arg []byte) reply {
	s := &f.set.sasl
	word, rest := cutWord(arg)
	switch {
	case f.client.Protocol != "ESMTP":
		return reply{503, "5.5.1", "Error: send HELO/EHLO first"}
	case s.server == nil:
		return reply{503, "5.5.1", "Error: authentication not enabled"}
	case f.tx != nil:
		return reply{503, "5.5.1", "Error: MAIL transaction in progress"}
	case f.tls == nil && f.set.tls.authOnly:
		return reply{538, "5.7.11", "Encryption required for requested authentication mechanism"}
	case f.client.SASLUser != "":
		return reply{503, "5.5.1", "Error: already authenticated"}
	case len(word) == 0 || slices.Contains(rest, ' '):
		return reply{501, "5.5.4", "Syntax: AUTH mechanism"}
	}
	mechanism := strings.ToUpper(string(word))
	if !slices.Contains(f.mechanisms(), mechanism) {
		return f.notIn(mechanism, sasl.Step{Reason: "Invalid authentication mechanism"})
	}
	var initial []byte
	if len(rest) > 0 {
		initial = []byte{}
		if string(rest) != "=" {
			var err error
			if initial, err = base64.StdEncoding.DecodeString(string(rest)); err != nil {
				return f.notIn(mechanism, sasl.Step{Reason: "malformed initial response"})
			}
		}
	}
	from := sasl.Peer{Service: s.service, Local: hostOf(f.raw.LocalAddr()), Remote: f.client.Addr, TLS: f.tls != nil}
	session, step := s.server.Start(mechanism, from, initial)
	for step.Outcome == sasl.Continue {
		answer, r, ok := f.response(step.Challenge)
		if !ok {
			session.Cancel()
			return r
		}
		b, err := base64.StdEncoding.DecodeString(string(answer))
		switch {
		case string(answer) == "*":
			session.Cancel()
			f.log.Warnf("%s[%s]: SASL %s authentication aborted", f.client.Name, f.client.Addr, mechanism)
			return reply{501, "5.7.0", "Authentication aborted"}
		case err != nil:
			session.Cancel()
			return f.notIn(mechanism, sasl.Step{Reason: "malformed response"})
		}
		step = session.Next(b)
	}
	if step.Outcome == sasl.Accepted {
		f.client.SASLMethod, f.client.SASLUser = mechanism, step.User
		return reply{235, "2.7.0", "Authentication successful"}
	}
	return f.notIn(mechanism, step)
}

// response sends a challenge and reads the answer.
func (f *front) response(challenge []byte) (answer []byte, r reply, ok bool) {
	f.out.Reply(334, "", base64.StdEncoding.EncodeToString(challenge))
	f.borrowBuffer()
	defer f.returnBuffer()
	for {
		line, err := f.in.ReadLine(f.set.sasl.limit)
		switch {
		case err == nil:
			return slices.Clone(trim(line)), reply{}, true
		case err == wire.ErrLineTooLong:
			return nil, reply{500, "5.5.6", "SASL response limit exceeded"}, false
		case f.wakeUp(err):
		default:
			f.readError(err)
			return nil, reply{}, false
		}
	}
}

// notIn is a login that came to nothing, in the words that fail2ban looks for.
func (f *front) notIn(mechanism string, step sasl.Step) reply {
	reason := step.Reason
	if reason == "" {
		reason = "(reason unavailable)"
	}
	user := ""
	if step.User != "" {
		user = ", sasl_username=" + step.User[:min(len(step.User), 100)]
	}
	f.log.Warnf("%s[%s]: SASL %.100s authentication failed: %s%s", f.client.Name, f.client.Addr, mechanism, reason, user)
	if step.Outcome == sasl.Temporary {
		return reply{454, "4.7.0", "Temporary authentication failure: " + reason}
	}
	return reply{535, "5.7.8", "Error: authentication failed: " + reason}
}

// dialer makes connections to an auth server, by way of master.
func dialer(d *daemon.Daemon, path string) func() (net.Conn, error) {
	return func() (net.Conn, error) { return d.Dial(path) }
}

func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return ""
	}
	return host
}
