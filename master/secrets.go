package master

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postrider/lib/config"
	"postrider/lib/tlsconf"
)

// secrets are the files that a service needs for TLS and for logins. The daemon could open
// none of them: private keys are root's. It gets copies in memory.
type secrets struct {
	pairs []tlsconf.Pair
	roots []string // files, and directories of files, of certificate authorities
	files []string // passwords
}

// clientSecrets are those of smtp and lmtp.
func clientSecrets(prefix string) func(*config.Config) secrets {
	return func(c *config.Config) (s secrets) {
		off := c.String(prefix+"tls_security_level") == "" && !c.Bool(prefix+"use_tls") && !c.Bool(prefix+"enforce_tls") ||
			c.String(prefix+"tls_security_level") == "none"
		if off && len(c.List(prefix+"tls_policy_maps")) == 0 && !c.Bool(prefix+"tls_wrappermode") {
			return s
		}
		s.pairs = tlsconf.Pairs(c, prefix)
		own, system := tlsconf.RootFiles(c, prefix)
		s.roots = own
		if system {
			s.roots = append(slices.Clone(own), tlsconf.SystemRoots...)
		}
		return s
	}
}

// serverSecrets are those of smtpd.
func serverSecrets(c *config.Config) (s secrets) {
	if tlsconf.Server(c) {
		s.pairs = tlsconf.Pairs(c, "smtpd_")
	}
	if c.Bool("smtpd_sasl_auth_enable") && c.String("smtpd_sasl_type") == "file" {
		s.files = []string{c.String("smtpd_sasl_path")}
	}
	return s
}

// take adds the secrets of a service to what its program is given.
func (p *plan) take(program string, s secrets) {
	paths := slices.Concat(s.roots, s.files)
	for _, pair := range s.pairs {
		paths = append(paths, pair...)
		if !slices.ContainsFunc(p.pairs, func(q tlsconf.Pair) bool { return slices.Equal(q, pair) }) {
			p.pairs = append(p.pairs, pair)
		}
	}
	for _, path := range paths {
		p.copied[path] = true
	}
	p.files[program] = union(slices.Clone(p.files[program]), paths)
}

// checkSecrets returns a line for each certificate or file of passwords that is of no use.
func (p *plan) checkSecrets() (lines []string) {
	read := func(path string) ([]byte, error) {
		w := openWatched(path, true)
		defer w.close()
		return w.contents()
	}
	for _, pair := range p.pairs {
		if _, err := pair.Load(read); err != nil {
			lines = append(lines, fmt.Sprintf("TLS certificate: %v: there is no TLS with it", err))
		}
	}
	return lines
}

// contents reads a copy in memory.
func (w *watched) contents() ([]byte, error) {
	if w.err != nil {
		return nil, w.err
	}
	st, err := w.file.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, st.Size())
	if _, err := w.file.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}

// renewPairs opens anew the files of certificates of which one has changed, when what is
// there now fits together; else the old ones stay in use, all of them. It takes the files
// that it dealt with out of changed and returns those that are new.
func (s *supervisor) renewPairs(changed map[string]bool) (fresh []string) {
	for _, pair := range s.plan.pairs {
		if !slices.ContainsFunc(pair, func(path string) bool { return changed[path] }) {
			continue
		}
		for _, path := range pair {
			delete(changed, path)
		}
		if !slices.ContainsFunc(pair, func(path string) bool {
			w := s.files[path]
			return w == nil || w.file == nil || w.differs()
		}) {
			continue
		}
		now := map[string]*watched{}
		for _, path := range pair {
			w := openWatched(path, true)
			now[path] = &w
		}
		_, err := pair.Load(func(path string) ([]byte, error) { return now[path].contents() })
		serves := !slices.ContainsFunc(pair, func(path string) bool { return s.files[path] == nil || s.files[path].file == nil })
		if err != nil && serves {
			s.log.Errorf("certificate %v: the old one stays in use", err)
			for _, w := range now {
				w.close()
			}
			continue
		}
		if err != nil {
			s.log.Warnf("TLS certificate: %v: there is no TLS with it", err)
		}
		for path, w := range now {
			if old := s.files[path]; old != nil {
				old.close()
			}
			s.files[path] = w
			fresh = append(fresh, path)
		}
		if err == nil && serves {
			s.log.Infof("certificate %s has changed -- handing it out anew", pair)
		}
	}
	return fresh
}

// open opens a file or, of authorities, a directory.
func (p *plan) open(path string, text bool) watched {
	if p.copied[path] {
		if st, err := os.Stat(path); err == nil && st.IsDir() {
			f, err := gathered(path)
			return watched{path: path, file: f, id: identify(st), err: err}
		}
	}
	return openWatched(path, text || p.copied[path])
}

// isHashed says whether a name is one that c_rehash gives: eight hexadecimal digits, a dot,
// and a number.
func isHashed(name string) bool {
	hash, n, ok := strings.Cut(name, ".")
	return ok && len(hash) == 8 && strings.Trim(hash, "0123456789abcdef") == "" && n != "" && strings.Trim(n, "0123456789") == ""
}

// gathered returns a copy in memory of all certificates in a directory (smtp_tls_CApath):
// the daemon cannot look into it.
func gathered(dir string) (*os.File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var text []byte
	for _, e := range entries {
		if !isHashed(e.Name()) {
			continue
		}
		w := openWatched(filepath.Join(dir, e.Name()), false)
		b, err := w.contents()
		w.close()
		if err == nil && len(text)+len(b) < copyMax {
			text = append(append(text, b...), '\n')
		}
	}
	return memoryFile(dir, bytes.NewReader(text), identity{})
}
