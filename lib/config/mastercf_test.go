package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseMaster(t *testing.T) {
	services, problems := ParseMaster("master.cf", `
# service type  private unpriv  chroot  wakeup  maxproc command + args
smtp      inet  n       -       y       -       -       smtpd
127.0.0.1:2525 inet n - n - 3 smtpd -v
  -o smtpd_timeout=10s
#  -o smtpd_error_sleep_time=3
  -o { smtpd_banner = a  b } -omyorigin=$myhostname
pickup    unix  n       -       y       60      1       pickup
flush     unix  n       -       y       1000?   0       flush
local     unix  -       n       n       -       -       local
maildrop  unix  -       n       n       -       -       pipe
  flags=DRXhu user=vmail argv=/usr/bin/maildrop -o x=y -d ${recipient} {a b}
pickup    unix  n       -       -       30      1       pickup
`)
	if got := joined(problems); got != "master.cf, line 13: duplicate entry for service pickup/unix: the one in line 8 is left out" {
		t.Errorf("problems: %s", got)
	}
	want := []Service{
		{Name: "smtp", Type: "inet", Unpriv: true, Chroot: true, MaxProc: -1, Command: "smtpd", Line: 3},
		{Name: "127.0.0.1:2525", Type: "inet", Unpriv: true, MaxProc: 3, Command: "smtpd", Args: []string{"-v"}, Line: 4,
			Overrides: map[string]string{"smtpd_timeout": "10s", "smtpd_banner": "a  b", "myorigin": "$myhostname"}},
		{Name: "pickup", Type: "unix", Unpriv: true, Wakeup: 30 * time.Second, MaxProc: 1, Command: "pickup", Line: 13},
		{Name: "flush", Type: "unix", Unpriv: true, Chroot: true, Wakeup: 1000 * time.Second, WakeupIfUsed: true, Command: "flush", Line: 9},
		{Name: "local", Type: "unix", Private: true, MaxProc: -1, Command: "local", Line: 10},
		{Name: "maildrop", Type: "unix", Private: true, MaxProc: -1, Command: "pipe", Line: 11, Args: []string{
			"flags=DRXhu", "user=vmail", "argv=/usr/bin/maildrop", "-o", "x=y", "-d", "${recipient}", "a b"}},
	}
	if len(services) != len(want) {
		t.Fatalf("got %d services, want %d", len(services), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(services[i], want[i]) {
			t.Errorf("got  %+v\nwant %+v", services[i], want[i])
		}
	}
}

func TestParseMasterFatal(t *testing.T) {
	for line, want := range map[string]string{
		"smtp inet n - n - smtpd":              `missing "command" field`,
		"smtp tcp n - n - - smtpd":             `bad transport type: tcp`,
		"smtp inet x - n - - smtpd":            `field "private" has bad value: "x"`,
		"smtp inet y - n - - smtpd":            `field "private" has bad value: "y"`,
		"smtp inet n - n soon - smtpd":         `field "wakeup time" has bad value: "soon"`,
		"smtp inet n - n - -1 smtpd":           `field "process limit" has bad value: "-1"`,
		"smtp inet n - n - - smtpd -o":         `-o without name=value`,
		"smtp inet n - n - - smtpd -o a":       `-o a: write -o name=value`,
		"smtp inet n - n - - smtpd -o a = b":   `-o a: write`,
		"smtp inet n - n - - smtpd -o { a = b": `missing '}'`,
		"host: inet n - n - - smtpd":           `service name without a port`,
		"../x unix n - n - - smtp":             `bad service name`,
	} {
		_, ps := ParseMaster("m", line)
		if err := ps.Err(); err == nil || !strings.Contains(err.Error(), "m, line 1: "+want) {
			t.Errorf("%s: got %v, want %s", line, err, want)
		}
	}
}

func TestHostPort(t *testing.T) {
	for name, want := range map[string][2]string{
		"smtp": {"", "smtp"}, "127.0.0.1:25": {"127.0.0.1", "25"}, "[::1]:25": {"::1", "25"}, "a:b:c": {"", ""}, ":25": {"", "25"},
	} {
		s := Service{Name: name, Type: "inet"}
		if host, port := s.HostPort(); host != want[0] || port != want[1] {
			t.Errorf("%s: got %q %q", name, host, port)
		}
	}
}

func FuzzParseMaster(f *testing.F) {
	f.Add("smtp inet n - y 60? 1 smtpd -o a=b -o { c = d } x\n  y")
	f.Fuzz(func(t *testing.T, text string) {
		services, ps := ParseMaster("m", text)
		for _, s := range services {
			if s.Name == "" || s.Command == "" || s.Line == 0 {
				t.Fatalf("bad service %+v", s)
			}
		}
		if ps.Err() == nil {
			Source{Dir: "/c", Host: testHost, ReadFile: func(path string) ([]byte, error) {
				if path == "/c/main.cf" {
					return nil, nil
				}
				return []byte(text), nil
			}}.Load()
		}
	})
}
