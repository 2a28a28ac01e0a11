package tlsconf

import (
	"crypto/tls"
	"fmt"
	"strings"
)

// Cipher is what OpenSSL, and so Postfix's log, calls the cipher suite, with the bits of
// its key.
func Cipher(id uint16) (name string, bits int) {
	name = tls.CipherSuiteName(id)
	bits = 128
	if strings.Contains(name, "AES_256") || strings.Contains(name, "CHACHA20") {
		bits = 256
	}
	if key, rest, ok := strings.Cut(strings.TrimPrefix(name, "TLS_"), "_WITH_"); ok { // before TLS 1.3
		rest = strings.NewReplacer("AES_", "AES", "_CBC_", "-", "_", "-").Replace(rest)
		rest = strings.Replace(rest, "CHACHA20-POLY1305-SHA256", "CHACHA20-POLY1305", 1)
		name = strings.ReplaceAll(key, "_", "-") + "-" + rest
		name = strings.TrimPrefix(name, "RSA-")
	}
	return name, bits
}

// Version is what Postfix's log calls a version of TLS.
func Version(v uint16) string { return strings.Replace(tls.VersionName(v), "TLS 1.", "TLSv1.", 1) }

// Describe says how a session is protected, in the words of Postfix's log and of its
// Received: header. more is what stands on a second line there: the key exchange.
func Describe(cs *tls.ConnectionState) (text, more string) {
	name, bits := Cipher(cs.CipherSuite)
	text = fmt.Sprintf("%s with cipher %s (%d/%d bits)", Version(cs.Version), name, bits, bits)
	if cs.Version >= tls.VersionTLS13 && cs.CurveID != 0 {
		more = "key-exchange " + cs.CurveID.String()
	}
	return text, more
}
