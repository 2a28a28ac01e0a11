package tlsconf

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postrider/lib/config"
)

// A Pair is the files of one certificate with its private key, which count together: while
// only one of them is new, the pair is still the old one.
type Pair []string

func (p Pair) String() string { return strings.Join(p, " and ") }

// Pairs returns those of a configuration; prefix is "smtpd_", "smtp_" or "lmtp_". The chain
// files are one Pair, since Postfix reads them as one text.
func Pairs(c *config.Config, prefix string) (pairs []Pair) {
	if files := c.List(prefix + "tls_chain_files"); len(files) > 0 {
		return []Pair{Pair(files)}
	}
	kinds := [][2]string{{"tls_cert_file", "tls_key_file"}}
	if prefix == "smtpd_" {
		kinds = append(kinds, [2]string{"tls_eccert_file", "tls_eckey_file"})
	}
	for _, k := range kinds {
		cert, key := c.String(prefix+k[0]), c.String(prefix+k[1])
		switch {
		case cert == "" || cert == "none":
		case key == "" || key == cert:
			pairs = append(pairs, Pair{cert})
		default:
			pairs = append(pairs, Pair{cert, key})
		}
	}
	return pairs
}

// Reader gives the contents of a file that the configuration names.
type Reader func(path string) ([]byte, error)

// Load reads a Pair. Where a key comes first, each key has the certificates that follow it
// (smtpd_tls_chain_files); else the key is that of the first certificate.
func (p Pair) Load(read Reader) ([]tls.Certificate, error) {
	var text []byte
	for _, path := range p {
		b, err := read(path)
		if err != nil {
			return nil, err
		}
		text = append(append(text, b...), '\n')
	}
	certs, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	return certs, nil
}

// errNoKey is what is wrong with a text without a key or without a certificate.
var errNoKey = errors.New("no private key with a certificate in it")

func parse(text []byte) ([]tls.Certificate, error) {
	var keys, chains [][]byte
	keyFirst := false
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		switch {
		case b.Type == "PRIVATE KEY" || strings.HasSuffix(b.Type, " PRIVATE KEY"):
			keyFirst = keyFirst || len(chains) == 0
			keys = append(keys, pem.EncodeToMemory(b))
			if keyFirst {
				chains = append(chains, nil)
			}
		case b.Type == "CERTIFICATE":
			if len(chains) == 0 {
				chains = append(chains, nil)
			}
			i := len(chains) - 1
			chains[i] = append(chains[i], pem.EncodeToMemory(b)...)
		}
	}
	if len(keys) == 0 || len(keys) != len(chains) || slices.ContainsFunc(chains, func(c []byte) bool { return len(bytes.TrimSpace(c)) == 0 }) {
		return nil, errNoKey
	}
	var certs []tls.Certificate
	for i := range keys {
		c, err := tls.X509KeyPair(chains[i], keys[i])
		if err != nil {
			return nil, err // says nothing of the key but that it does not fit
		}
		certs = append(certs, c)
	}
	return certs, nil
}

// Server says whether a service of smtpd speaks TLS (smtpd_tls_security_level and what was
// before it).
func Server(c *config.Config) bool { return ServerLevel(c) != "" || c.Bool("smtpd_tls_wrappermode") }

// ServerLevel is "may", "encrypt", or "" for none.
func ServerLevel(c *config.Config) string {
	switch level := c.String("smtpd_tls_security_level"); {
	case level == "may" || level == "encrypt":
		return level
	case level == "none":
		return ""
	case c.Bool("smtpd_enforce_tls"):
		return "encrypt"
	case c.Bool("smtpd_use_tls"):
		return "may"
	}
	return ""
}
