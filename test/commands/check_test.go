package commands

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postrider/test/instance"
)

// Each mistake that an administrator makes is one line of postrider check, which says what
// is wrong, where, and what to do. (Owners and modes: test/root, TestC79Permissions.)
func TestCheckSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		main, master string // lines
		do           func(t *testing.T, i *instance.Instance)
		says         []string
		fatal        bool
	}{
		"nothing wrong":     {},
		"unknown parameter": {main: "relay_hosts = x", says: []string{"main.cf, line ", "unused parameter: relay_hosts=x", "postconf -d"}},
		"not a number":      {main: "message_size_limit = 10MB", says: []string{"main.cf, line ", "message_size_limit = 10MB", "without a unit"}, fatal: true},
		"not a time":        {main: "maximal_queue_lifetime = 5 minutes", says: []string{"maximal_queue_lifetime = 5 minutes", "s, m, h, d or w"}, fatal: true},
		"not a choice":      {main: "smtp_tls_security_level = sometimes", says: []string{"smtp_tls_security_level = sometimes", "none, may, encrypt"}, fatal: true},
		"no equals sign":    {main: "just words", says: []string{"main.cf, line ", "missing '='", `"just words"`}, fatal: true},
		"a short line":      {master: "submission inet n - n -", says: []string{"master.cf, line ", `missing "process limit" field`}, fatal: true},
		"a wrong column":    {master: "submission inet n - q - - smtpd", says: []string{"master.cf, line ", `field "chroot" has bad value: "q"`, "write y, n or -"}, fatal: true},
		"an unknown daemon": {master: "foo unix - - n - - nosuch", says: []string{"foo/unix (nosuch)", "not available"}},
		"a missing table":   {main: "virtual_alias_maps = hash:DIR/virtual", says: []string{"DIR/virtual.cdb: no such file", `run "postmap DIR/virtual"`}, fatal: true},
		"a type of table":   {main: "virtual_alias_maps = hsah:/etc/virtual", says: []string{"virtual_alias_maps: ", `type "hsah" is not supported`, "hash"}, fatal: true},
		"a network":         {main: "mynetworks = 10.0.0.1/8", says: []string{"non-null host address bits in 10.0.0.1/8", "10.0.0.0/8"}, fatal: true},
		"a certificate":     {main: "smtpd_tls_cert_file = DIR/none.pem\nsmtpd_tls_security_level = may", says: []string{"DIR/none.pem: no such file", "no TLS with it"}},
		"the log":           {main: "maillog_file = /nonexistent/log", says: []string{"no directory /nonexistent", "make it, or change maillog_file"}},
		"no daemons":        {main: "daemon_directory = /nonexistent", says: []string{"no program /nonexistent/", "daemon_directory"}, fatal: true},
		"a user":            {main: "default_privs = no-such-user", says: []string{"default_privs = no-such-user", "no such user"}, fatal: true},
		"a directory": {do: func(t *testing.T, i *instance.Instance) {
			if err := os.WriteFile(filepath.Join(i.Dir, "data"), nil, 0o644); err != nil { // where a directory should be
				t.Fatal(err)
			}
		}, says: []string{"DIR/data"}},
		"no master.cf": {do: func(t *testing.T, i *instance.Instance) { os.Remove(i.Conf + "/master.cf") }, says: []string{"master.cf: no such file", "-c or MAIL_CONFIG"}, fatal: true},
	} {
		t.Run(name, func(t *testing.T) {
			i := instance.New(t)
			for line := range strings.SplitSeq(strings.ReplaceAll(c.main, "DIR", i.Dir), "\n") {
				if line != "" {
					i.Set(line)
				}
			}
			if c.master != "" {
				i.AddService(c.master)
			}
			if c.do != nil {
				c.do(t, i)
			}
			r := i.Run("master", "check")
			var found []string
			for line := range strings.Lines(r.Stderr) {
				if strings.Contains(line, "warning: ") || strings.Contains(line, "fatal: ") {
					found = append(found, line)
				}
			}
			if (r.Code != 0) != c.fatal || c.says == nil && found != nil || c.says != nil && len(found) != 1 {
				t.Errorf("exit code %d, %d lines:\n%s", r.Code, len(found), r.Stderr)
			}
			for _, want := range c.says {
				if want = strings.ReplaceAll(want, "DIR", i.Dir); !strings.Contains(strings.Join(found, ""), want) {
					t.Errorf("%q is not said:\n%s", want, r.Stderr)
				}
			}
		})
	}
}
