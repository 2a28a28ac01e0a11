package tlsconf

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"
)

// make returns a certificate and its key.
func issue(t testing.TB) (cert, key string) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a.test"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	priv, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: priv}))
}

// TestLoad: what Postfix's files may look like, and what is no pair.
func TestLoad(t *testing.T) {
	c1, k1 := issue(t)
	c2, k2 := issue(t)
	files := map[string]string{
		"cert": c1, "key": k1, "other": k2, "keyfirst": k1 + c1, "certfirst": c1 + k1, "chain": c1 + c2, "two": k1 + c1 + k2 + c2, "second": k2 + c2,
		"torn": c1[:100], "empty": "", "twokeys": k1 + k2 + c1, "params": "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + k1 + c1,
	}
	read := func(path string) ([]byte, error) {
		if s, ok := files[path]; ok {
			return []byte(s), nil
		}
		return nil, errors.New("not there")
	}
	for _, x := range []struct {
		pair  Pair
		certs int
		chain int
	}{
		{Pair{"cert", "key"}, 1, 1}, {Pair{"keyfirst"}, 1, 1}, {Pair{"certfirst"}, 1, 1}, {Pair{"chain", "key"}, 1, 2}, {Pair{"two"}, 2, 1}, {Pair{"params"}, 1, 1},
		{Pair{"keyfirst", "second"}, 2, 1},
		{Pair{"cert", "other"}, 0, 0}, {Pair{"cert"}, 0, 0}, {Pair{"key"}, 0, 0}, {Pair{"torn", "key"}, 0, 0}, {Pair{"empty", "key"}, 0, 0}, {Pair{"twokeys"}, 0, 0}, {Pair{"cert", "gone"}, 0, 0},
	} {
		certs, err := x.pair.Load(read)
		if len(certs) != x.certs || (err == nil) != (x.certs > 0) {
			t.Errorf("%v: %d certificates, %v", x.pair, len(certs), err)
		} else if x.certs > 0 && len(certs[0].Certificate) != x.chain {
			t.Errorf("%v: a chain of %d", x.pair, len(certs[0].Certificate))
		}
	}
}

func TestCipher(t *testing.T) {
	for id, want := range map[uint16]string{
		tls.TLS_AES_256_GCM_SHA384:                        "TLS_AES_256_GCM_SHA384",
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:         "ECDHE-RSA-AES128-GCM-SHA256",
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       "ECDHE-ECDSA-AES256-GCM-SHA384",
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:   "ECDHE-RSA-CHACHA20-POLY1305",
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
	} {
		got, bits := Cipher(id)
		if got != want || bits != 128 && bits != 256 || slices.Contains([]string{"x"}, got) {
			t.Errorf("%s, %d bits; want %s", got, bits, want)
		}
	}
	if v := Version(tls.VersionTLS12); v != "TLSv1.2" {
		t.Error(v)
	}
}

// BenchmarkHandshake is what a TLS session costs both ends together, before anything is sent.
func BenchmarkHandshake(b *testing.B) {
	c, k := issue(b)
	certs, err := Pair{"x"}.Load(func(string) ([]byte, error) { return []byte(k + c), nil })
	if err != nil {
		b.Fatal(err)
	}
	for _, resumed := range []bool{false, true} {
		b.Run(map[bool]string{false: "full", true: "resumed"}[resumed], func(b *testing.B) {
			server := &tls.Config{Certificates: certs, MinVersion: tls.VersionTLS12}
			client := &tls.Config{InsecureSkipVerify: true}
			if resumed {
				client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					s := tls.Server(conn, server)
					s.Write([]byte("250\r\n"))
					s.Close()
				}
			}()
			b.ReportAllocs()
			for b.Loop() {
				conn, err := tls.Dial("tcp", l.Addr().String(), client)
				if err != nil {
					b.Fatal(err)
				}
				conn.Read(make([]byte, 8))
				conn.Close()
			}
		})
	}
}
