package tlsconf

import (
	"crypto/x509"
	"encoding/pem"

	"postrider/lib/config"
)

// SystemRoots are the files of which the first that is there has the authorities that the
// system trusts, on the systems that we know (crypto/x509 looks at the same).
var SystemRoots = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

// AddRoots adds the certificates of a PEM text to a pool. One that cannot be read is left
// out, as OpenSSL does; n says how many were added. Each is parsed when it is looked at
// first: of the system's hundreds nearly none is ever needed.
func AddRoots(pool *x509.CertPool, text []byte) (n int) {
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			return n
		}
		if b.Type != "CERTIFICATE" && b.Type != "TRUSTED CERTIFICATE" {
			continue
		}
		if pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.Bytes})) {
			n++
		}
	}
}

// RootFiles are the files and directories that hold the authorities whom the configuration
// trusts (smtp_tls_CAfile, smtp_tls_CApath), and whether those of the system count: without
// others, and with tls_append_default_CA. prefix is "smtp_" or "lmtp_".
func RootFiles(c *config.Config, prefix string) (paths []string, system bool) {
	for _, name := range []string{"tls_CAfile", "tls_CApath"} {
		if p := c.String(prefix + name); p != "" {
			paths = append(paths, p)
		}
	}
	return paths, len(paths) == 0 || c.Bool("tls_append_default_CA")
}
