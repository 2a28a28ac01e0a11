package smtpd

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"postrider/lib/config"
	"postrider/lib/maillog"
)

// policyMaker makes the restriction that asks a policy service (SMTPD_POLICY_README).
type policyMaker func(config.PolicyService) restriction

// policyService is one that check_policy_service names. Connections are kept; each carries
// one request at a time.
type policyService struct {
	name    string
	dial    func(name string) (net.Conn, error)
	log     *maillog.Logger
	usual   string // smtpd_policy_service_default_action
	context string
	timeout time.Duration
	idle    time.Duration
	life    time.Duration
	most    int // requests of a connection; 0: no limit
	tries   int
	pause   time.Duration

	mu   sync.Mutex
	free []*policyConn
}

// policyConn is a connection to a policy service.
type policyConn struct {
	net.Conn
	r          *bufio.Reader
	made, used time.Time
	requests   int
}

// maxPolicyConns is how many connections are kept without use.
const maxPolicyConns = 50

// policies makes the policy services of a configuration: one for all lists that name it.
func policies(dial func(string) (net.Conn, error), log *maillog.Logger) func(*config.Config) policyMaker {
	return func(cfg *config.Config) policyMaker {
		var mu sync.Mutex // a table may name a service, too
		made := map[string]*policyService{}
		return func(ps config.PolicyService) restriction {
			mu.Lock()
			defer mu.Unlock()
			key := fmt.Sprint(ps.Socket, ps.Options)
			s := made[key]
			if s == nil {
				s = newPolicyService(cfg, ps, dial, log)
				made[key] = s
			}
			m := &accessMap{spec: "policy service " + ps.Socket}
			return restriction{do: func(c *check) verdict { return m.act(c, s.ask(c), c.name, c.class) }}
		}
	}
}

func newPolicyService(cfg *config.Config, ps config.PolicyService, dial func(string) (net.Conn, error), log *maillog.Logger) *policyService {
	over := map[string]string{}
	for name, value := range ps.Options {
		full := "smtpd_policy_service_" + name
		if _, ok := config.Lookup(full); !ok {
			log.Warnf("check_policy_service %s: unknown attribute %s", ps.Socket, name)
			continue
		}
		over[full] = value
	}
	if len(over) > 0 {
		if with, err := cfg.With(over); err == nil {
			cfg = with
		} else {
			log.Warnf("check_policy_service %s: %v", ps.Socket, err)
		}
	}
	return &policyService{name: ps.Socket, dial: dial, log: log,
		usual:   cfg.String("smtpd_policy_service_default_action"),
		context: cfg.String("smtpd_policy_service_policy_context"),
		timeout: cfg.Duration("smtpd_policy_service_timeout"),
		idle:    cfg.Duration("smtpd_policy_service_max_idle"),
		life:    cfg.Duration("smtpd_policy_service_max_ttl"),
		most:    cfg.Int("smtpd_policy_service_request_limit"),
		tries:   cfg.Int("smtpd_policy_service_try_limit"),
		pause:   cfg.Duration("smtpd_policy_service_retry_delay"),
	}
}

// ask returns the action for a request: what a table of access(5) might say.
func (s *policyService) ask(c *check) string {
	request := s.request(c)
	for try := 1; ; try++ {
		action, err := s.once(request)
		if err == nil {
			return action
		}
		s.log.Warnf("problem talking to server %s: %v", s.name, err)
		if try >= s.tries {
			return s.usual
		}
		c.f.pause(s.pause)
	}
}

// once puts a request, on a connection that is kept if there is one. When that one has been
// closed by the other side meanwhile, a fresh one is tried at once.
func (s *policyService) once(request string) (string, error) {
	conn := s.take()
	kept := conn != nil
	if !kept {
		raw, err := s.dial(s.name)
		if err != nil {
			return "", err
		}
		conn = &policyConn{Conn: raw, r: bufio.NewReaderSize(raw, 4096), made: time.Now()}
	}
	action, err := conn.put(request, s.timeout)
	if err != nil {
		conn.Close()
		if kept {
			return s.once(request)
		}
		return "", err
	}
	s.give(conn)
	return action, nil
}

// take returns a connection that is kept, or nil.
func (s *policyService) take() *policyConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := len(s.free); n > 0; n = len(s.free) {
		c := s.free[n-1]
		s.free = s.free[:n-1]
		now := time.Now()
		if now.Sub(c.used) < s.idle && now.Sub(c.made) < s.life && (s.most == 0 || c.requests < s.most) {
			return c
		}
		c.Close()
	}
	return nil
}

func (s *policyService) give(c *policyConn) {
	c.used = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) >= maxPolicyConns {
		c.Close()
		return
	}
	s.free = append(s.free, c)
}

var errPolicy = errors.New("the answer has no action")

// put writes a request and reads lines until an empty one: the last "action=" counts.
func (c *policyConn) put(request string, timeout time.Duration) (action string, err error) {
	c.requests++
	c.SetDeadline(time.Now().Add(timeout))
	if _, err := c.Write([]byte(request)); err != nil {
		return "", err
	}
	for range 100 {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			if action == "" {
				return "", errPolicy
			}
			return action, nil
		}
		if v, ok := strings.CutPrefix(text, "action="); ok {
			action = v
		}
	}
	return "", errPolicy
}

// request is what a policy service is told, in Postfix's order.
func (s *policyService) request(c *check) string {
	var b strings.Builder
	add := func(name, value string) {
		b.WriteString(name)
		b.WriteByte('=')
		b.WriteString(strings.Map(func(r rune) rune {
			if r == '\n' || r == '\r' || r == 0 {
				return '?'
			}
			return r
		}, value))
		b.WriteByte('\n')
	}
	f := c.f
	add("request", "smtpd_access_policy")
	add("protocol_state", c.where)
	add("protocol_name", f.client.Protocol)
	add("client_address", f.client.Addr)
	add("client_name", f.client.Name)
	add("client_port", f.port())
	add("reverse_client_name", f.claimedName())
	server, port := f.here()
	add("server_address", server)
	add("server_port", port)
	add("helo_name", f.client.Helo)
	add("sender", string(c.sender))
	add("recipient", string(c.rcpt))
	count := 0
	if c.at >= atData {
		count = c.count
	}
	add("recipient_count", strconv.Itoa(count))
	id := ""
	if f.tx != nil {
		id = string(f.tx.env.ID)
	}
	add("queue_id", id)
	add("instance", f.instance())
	add("size", strconv.FormatInt(f.size(c), 10))
	add("etrn_domain", "")
	add("stress", "")
	add("sasl_method", f.client.SASLMethod)
	add("sasl_username", f.client.SASLUser)
	add("sasl_sender", "")
	for _, name := range []string{"ccert_subject", "ccert_issuer", "ccert_fingerprint", "ccert_pubkey_fingerprint"} {
		add(name, "")
	}
	protocol, cipher, bits := f.tls.parts()
	add("encryption_protocol", protocol)
	add("encryption_cipher", cipher)
	add("encryption_keysize", bits)
	add("policy_context", s.context)
	b.WriteByte('\n')
	return b.String()
}

// size is what the client announced, and at the end what came.
func (f *front) size(c *check) int64 {
	if c.at == atEnd {
		return c.size
	}
	if f.tx != nil {
		return f.params.size
	}
	return 0
}

// instance is the same for all requests about one message (Postfix: process, time, count).
func (f *front) instance() string {
	return fmt.Sprintf("%x.%x.%x.%x", os.Getpid(), f.began.UnixMicro(), f.slot, f.counts[mailFrom].total)
}

func (f *front) port() string {
	if a, ok := f.raw.RemoteAddr().(*net.TCPAddr); ok {
		return strconv.Itoa(a.Port)
	}
	return "unknown"
}

func (f *front) here() (addr, port string) {
	if a, ok := f.raw.LocalAddr().(*net.TCPAddr); ok && a.IP != nil {
		return a.AddrPort().Addr().Unmap().String(), strconv.Itoa(a.Port)
	}
	return "", ""
}
