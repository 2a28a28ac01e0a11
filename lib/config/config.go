package config

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"strings"
	"time"
)

// DefaultDir is where main.cf and master.cf are when nobody says otherwise. It is a
// variable for the linker alone, which puts the place of an installation there
// (make CONFDIR=): the set-gid postdrop trusts no other.
var DefaultDir = "/etc/postrider"

// Prefix is what the programs were installed below: make PREFIX=, as DefaultDir.
var Prefix = "/usr"

// Version is the default of mail_version.
const Version = "0.1.0"

// Dir chooses the configuration directory: the -c option when given, else
// MAIL_CONFIG of the environment, else DefaultDir. A set-gid program must not
// use it.
func Dir(option string) string {
	if option != "" {
		return option
	}
	if dir := os.Getenv("MAIL_CONFIG"); dir != "" {
		return dir
	}
	return DefaultDir
}

// Config is one consistent, checked set of parameters and services. It never
// changes; any goroutine may use it. The getters panic when the name is not in
// the table of parameters or has another kind, which is a bug of the caller.
type Config struct {
	dir      string
	host     Host
	main     []Setting
	over     map[string]string // from -o, not expanded
	explicit map[string]string // main and over together
	files    map[string]string // text of the files named in pattern lists
	services []Service
	values   []value // one a row of table
	own      []netip.Prefix
}

// readFunc gives the text of a file that a pattern list names.
type readFunc func(path string) (string, error)

// build expands and parses every parameter and returns what is wrong, with the
// name of the parameter each error is about.
func (c *Config) build(read readFunc) []paramError {
	c.explicit = make(map[string]string, len(c.main)+len(c.over))
	for _, s := range c.main {
		c.explicit[s.Name] = s.Value
	}
	maps.Copy(c.explicit, c.over)
	c.values = make([]value, len(table))
	var errs []paramError
	for i := range table {
		p := &table[i]
		v, err := c.eval(p, read)
		if err == nil && p.Kind == KindMatch {
			v.list, err = c.includes(v.list, read)
		}
		if err != nil {
			errs = append(errs, paramError{p.Name, err})
			continue
		}
		c.values[i] = v
	}
	c.own = c.expander().interfaces()
	return errs
}

type paramError struct {
	name string
	err  error
}

// eval returns the value of one row.
func (c *Config) eval(p *Param, read readFunc) (v value, err error) {
	e := c.expander()
	s, _ := e.lookup(p.Name)
	if p.Kind != KindRaw {
		if s, err = e.expand(s); err != nil {
			return v, errf("%s: %v", p.Name, err)
		}
	}
	if p.file && strings.HasPrefix(s, "/") {
		text, err := read(s)
		if err != nil {
			return v, errf("%s: %v", p.Name, err)
		}
		s, _, _ = strings.Cut(text, "\n")
		s = strings.TrimSpace(s)
	}
	return p.parse(s)
}

func (c *Config) expander() *expander {
	e := &expander{host: &c.host, dir: c.dir}
	e.set = func(name string) (string, bool) {
		s, ok := c.explicit[name]
		return s, ok
	}
	computing := ""
	e.lookup = func(name string) (string, bool) {
		if s, ok := c.explicit[name]; ok {
			return s, true
		}
		i, ok := rows[name]
		if !ok {
			return "", false
		}
		p := &table[i]
		if p.compute == nil {
			return p.Default, true
		}
		if computing == name { // "mydomain = $myhostname" without a dot anywhere
			return "", true
		}
		before := computing
		computing = name
		s := p.compute(e)
		computing = before
		return s, true
	}
	return e
}

// row returns the place of a parameter of one of the given kinds.
func row(name string, kinds ...Kind) int {
	i, ok := rows[name]
	if ok {
		for _, k := range kinds {
			if table[i].Kind == k {
				return i
			}
		}
	}
	panic(fmt.Sprintf("config: no parameter %q of kind %v", name, kinds))
}

// String returns the expanded value of a string parameter. A raw string is
// returned as written.
func (c *Config) String(name string) string {
	return c.values[row(name, KindString, KindRaw)].text
}

// Text returns the expanded value of any parameter as text.
func (c *Config) Text(name string) string {
	i, ok := rows[name]
	if !ok {
		panic(fmt.Sprintf("config: no parameter %q", name))
	}
	return c.values[i].text
}

// Bool returns the value of a yes-or-no parameter.
func (c *Config) Bool(name string) bool { return c.values[row(name, KindBool)].n != 0 }

// Int returns the value of a number.
func (c *Config) Int(name string) int { return int(c.values[row(name, KindInt)].n) }

// Duration returns the value of a time.
func (c *Config) Duration(name string) time.Duration { return c.values[row(name, KindTime)].d }

// List returns the words of a list; in a pattern list the contents of "/file"
// stand in its place. The caller must not change it.
func (c *Config) List(name string) []string {
	return c.values[row(name, KindList, KindMatch)].list
}

// Addresses returns the machine's own addresses, with the length of their
// networks, as inet_interfaces and inet_protocols leave them.
func (c *Config) Addresses() []netip.Prefix { return c.own }

// ProxyAddresses returns the addresses of proxy_interfaces.
func (c *Config) ProxyAddresses() []netip.Addr {
	var ips []netip.Addr
	for _, w := range c.List("proxy_interfaces") {
		ips = append(ips, c.host.addrs(w)...)
	}
	return ips
}

// Services returns the lines of master.cf in their order. The caller must not
// change them.
func (c *Config) Services() []Service { return c.services }

// Service finds a line of master.cf, such as ("smtp", "inet").
func (c *Config) Service(name, kind string) (Service, bool) {
	for _, s := range c.services {
		if s.Name == name && s.Type == kind {
			return s, true
		}
	}
	return Service{}, false
}

// Dir returns config_directory: where main.cf and master.cf were read from.
func (c *Config) Dir() string { return c.dir }

// Settings returns what main.cf says, not expanded, in its order.
func (c *Config) Settings() []Setting { return c.main }

// Set says whether main.cf or an override sets the parameter, and its value,
// not expanded.
func (c *Config) Set(name string) (string, bool) {
	s, ok := c.explicit[name]
	return s, ok
}

// Raw returns the value of a parameter, or of a name that main.cf defines, not
// expanded, and whether there is one.
func (c *Config) Raw(name string) (string, bool) { return c.expander().lookup(name) }

// Default returns the default of a parameter: computed, or not expanded.
func (c *Config) Default(p Param) string {
	if p.compute == nil {
		return p.Default
	}
	return p.compute(c.expander())
}

// Expand replaces the references in s as in a value of main.cf.
func (c *Config) Expand(s string) (string, error) { return c.expander().expand(s) }

// With returns a Config in which the given values, not expanded, override
// main.cf: the -o options of a service. An error is of kind ErrConfig.
func (c *Config) With(overrides map[string]string) (*Config, error) {
	d, errs := c.with(overrides, c.granted)
	if len(errs) > 0 {
		return nil, errs[0].err
	}
	return d, nil
}

func (c *Config) with(overrides map[string]string, read readFunc) (*Config, []paramError) {
	d := *c
	d.over = maps.Clone(c.over)
	if d.over == nil {
		d.over = map[string]string{}
	}
	maps.Copy(d.over, overrides)
	return &d, d.build(read)
}

// ForService returns the Config as the service sees it: with its -o options,
// and with $service_name.
func (c *Config) ForService(s Service) (*Config, error) { return c.With(s.settings()) }

// settings are the overrides with which a service runs.
func (s *Service) settings() map[string]string {
	o := map[string]string{"service_name": s.Name}
	maps.Copy(o, s.Overrides)
	return o
}
