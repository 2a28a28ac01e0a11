package smtp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"sync"

	"postrider/lib/config"
	"postrider/lib/maillog"
	"postrider/lib/table"
	"postrider/lib/tlsconf"
)

// level is what is asked of TLS with a server (smtp_tls_security_level), weakest first.
type level uint8

const (
	levelNone    level = iota
	levelMay           // TLS where it is offered and works
	levelEncrypt       // no mail without it
	levelVerify        // and with a certificate that is trusted and has the server's name
	levelSecure        // or rather the next hop's, since DNS can be forged
)

var levelNames = []string{"none", "may", "encrypt", "verify", "secure"}

// policy is what holds for the servers of one next hop.
type policy struct {
	level           level
	match           []string // at levelVerify and above: names, "hostname", "nexthop", "dot-nexthop"
	lowest, highest uint16   // versions of TLS
	serverName      string   // smtp_tls_servername
	key             string   // the same for policies under which a session may be shared
	bad             string   // not empty: nothing may be sent, and why
}

// tlsSettings are those parameters of a service that are about TLS.
type tlsSettings struct {
	site      *policy // without smtp_tls_policy_maps
	maps      table.Maps
	logLevel  int
	wrap      bool // smtp_tls_wrappermode
	noteOffer bool
	roots     func() *x509.CertPool
	certs     []tls.Certificate // of ours
	cache     tls.ClientSessionCache
	params    params
}

// cachedSessions is how many servers' sessions can be resumed: a few kilobytes each.
const cachedSessions = 200

// files are what master handed over.
type files struct {
	open table.Opener
	read func(path string) ([]byte, error)
}

func newTLS(p params, f files, log *maillog.Logger) tlsSettings {
	t := tlsSettings{
		logLevel:  p.number("tls_loglevel"),
		wrap:      p.has("tls_wrappermode"),
		noteOffer: p.has("tls_note_starttls_offer"),
		params:    p,
	}
	var err error
	if t.maps, err = table.Open(p.words("tls_policy_maps"), table.Options{Open: f.open}); err != nil {
		log.Warnf("%v", err)
	}
	name := p.text("tls_security_level")
	switch {
	case name != "":
	case p.has("enforce_tls") && p.has("tls_enforce_peername"):
		name = "verify"
	case p.has("enforce_tls"):
		name = "encrypt"
	case p.has("use_tls"):
		name = "may"
	}
	t.site = t.newPolicy(name)
	if t.wrap && t.site.level < levelEncrypt {
		log.Warnf("%stls_wrappermode = yes goes with %stls_security_level = encrypt or above: using encrypt", p.prefix, p.prefix)
		t.site = t.newPolicy("encrypt")
	}
	if t.off() {
		return t
	}
	t.cache = tls.NewLRUClientSessionCache(cachedSessions)
	t.roots = sync.OnceValue(func() *x509.CertPool { return authorities(p, f, log) })
	for _, pair := range tlsconf.Pairs(p.Config, p.prefix) {
		c, err := pair.Load(f.read)
		if err != nil {
			log.Warnf("no certificate is shown to servers: %v", err)
		}
		t.certs = append(t.certs, c...)
	}
	return t
}

// off says that there is no TLS at all.
func (t *tlsSettings) off() bool {
	return t.site.level == levelNone && len(t.maps) == 0 && t.site.bad == ""
}

// authorities reads those who are trusted.
func authorities(p params, f files, log *maillog.Logger) *x509.CertPool {
	pool := x509.NewCertPool()
	paths, system := tlsconf.RootFiles(p.Config, p.prefix)
	for _, path := range paths {
		b, err := f.read(path)
		if err == nil && tlsconf.AddRoots(pool, b) == 0 {
			err = fmt.Errorf("no certificate in %s", path)
		}
		if err != nil {
			log.Warnf("certificate authorities: %v", err)
		}
	}
	if system {
		for _, path := range tlsconf.SystemRoots {
			if b, err := f.read(path); err == nil && tlsconf.AddRoots(pool, b) > 0 {
				break
			}
		}
	}
	return pool
}

// newPolicy is the policy of a level with what main.cf says about it.
func (t *tlsSettings) newPolicy(name string) *policy {
	p := &policy{}
	if i := slices.Index(levelNames, name); i >= 0 {
		p.level = level(i)
	} else if name != "" {
		p.bad = "TLS security level \"" + name + "\" is not supported"
	}
	protocols := "tls_protocols"
	if p.level >= levelEncrypt {
		protocols = "tls_mandatory_protocols"
	}
	p.lowest, p.highest, _ = config.TLSVersions(t.params.text(protocols)) // was checked
	switch p.level {
	case levelVerify:
		p.match = t.params.words("tls_verify_cert_match")
	case levelSecure:
		p.match = t.params.words("tls_secure_cert_match")
	}
	if p.level > levelNone {
		p.serverName = t.params.text("tls_servername")
	}
	p.seal(hop{})
	return p
}

// seal makes the key.
func (p *policy) seal(h hop) {
	p.key = levelNames[p.level]
	if p.level >= levelEncrypt {
		p.key = fmt.Sprint(p.key, p.lowest, p.highest, p.serverName)
	}
	if p.level >= levelVerify {
		p.key = fmt.Sprint(p.key, p.match, h.name)
	}
}

// policy returns what holds for a next hop.
func (t *tlsSettings) policy(h hop) *policy {
	if len(t.maps) == 0 && t.site.level < levelVerify {
		return t.site
	}
	p := *t.site
	// One lookup for what is no plain domain; else the domain and those above it.
	keys := []string{h.text}
	if !strings.ContainsAny(h.text, "[]:") {
		keys = append(keys, table.ParentKeys(h.text)...)
	}
	v, ok, err := t.maps.First(context.Background(), keys) // tables are in memory
	switch {
	case err != nil:
		p.bad = "TLS policy lookup error"
	case ok:
		p = *t.parsePolicy(v)
	}
	p.seal(h)
	return &p
}

// parsePolicy reads a value of smtp_tls_policy_maps: a level and attributes.
func (t *tlsSettings) parsePolicy(v string) *policy {
	words := strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune(" \t\r\n,", r) })
	if len(words) == 0 {
		return &policy{bad: "TLS policy without a level"}
	}
	p := t.newPolicy(strings.ToLower(words[0]))
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, "=")
		var err error
		switch name {
		case "match":
			p.match = strings.Split(value, ":")
		case "protocols":
			p.lowest, p.highest, err = config.TLSVersions(value)
		case "servername":
			p.serverName = value
		case "ciphers", "exclude", "connection_reuse": // the suites are Go's; sessions are always kept
		default:
			p.bad = "TLS policy attribute \"" + name + "\" is not supported"
		}
		if err != nil {
			p.bad = "TLS policy: bad protocols"
		}
		if p.level == levelNone || name == "match" && p.level < levelVerify {
			p.bad = "TLS policy level \"" + words[0] + "\" does not go with \"" + name + "\""
		}
	}
	return p
}
