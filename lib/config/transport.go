package config

import (
	"strings"
	"time"
)

// A parameter per transport is NAME_suffix in main.cf, where NAME is the first
// field of a line of master.cf. Without it the parameter default_suffix (or
// suffix alone, for initial_destination_concurrency) holds. As in Postfix an
// -o option in master.cf has no say here: the queue manager reads main.cf.

// TransportInt returns a number per transport, for example
// TransportInt("relay", "destination_concurrency_limit").
func (c *Config) TransportInt(transport, suffix string) int {
	return int(c.transport(transport, suffix, KindInt).n)
}

// TransportDuration returns a time per transport, for example
// TransportDuration("relay", "destination_rate_delay").
func (c *Config) TransportDuration(transport, suffix string) time.Duration {
	return c.transport(transport, suffix, KindTime).d
}

// TransportString returns a string per transport, for example
// TransportString("relay", "destination_concurrency_positive_feedback").
func (c *Config) TransportString(transport, suffix string) string {
	return c.transport(transport, suffix, KindString).text
}

// TransportName returns the name of the parameter that holds for a transport, for
// example "relay_destination_concurrency_limit" where main.cf sets that, and else
// "default_destination_concurrency_limit".
func (c *Config) TransportName(transport, suffix string) string {
	name := transport + "_" + suffix
	if _, ok := c.explicit[name]; ok {
		return name
	}
	if _, ok := rows[name]; ok {
		return name
	}
	return suffixes[suffix]
}

func (c *Config) transport(transport, suffix string, kind Kind) value {
	i := row(suffixes[suffix], kind)
	name := transport + "_" + suffix
	if j, ok := rows[name]; ok {
		return c.values[j]
	}
	if _, ok := c.explicit[name]; ok {
		// A value that does not parse was refused by Load; what Load did not
		// see, a transport without a line in master.cf, gets the default.
		p := table[i]
		p.Name = name
		if v, err := c.eval(&p, c.granted); err == nil {
			return v
		}
	}
	return c.values[i]
}

// transportParam returns the row that a setting NAME_suffix of main.cf is
// checked by, if NAME is a transport in master.cf.
func (c *Config) transportParam(name string) (Param, bool) {
	for _, s := range c.services {
		if s.Type == "inet" {
			continue
		}
		if suffix, ok := strings.CutPrefix(name, s.Name+"_"); ok {
			if base, ok := suffixes[suffix]; ok {
				p := table[rows[base]]
				p.Name = name
				return p, true
			}
		}
	}
	return Param{}, false
}

// TransportRaw returns the value, not expanded, of a name such as
// relay_destination_concurrency_limit where relay is in master.cf: as main.cf
// sets it, or a reference to the parameter that holds otherwise.
func (c *Config) TransportRaw(name string) (string, bool) {
	p, ok := c.transportParam(name)
	if !ok {
		return "", false
	}
	if s, ok := c.explicit[name]; ok {
		return s, true
	}
	return "$" + suffixes[p.Suffix], true
}
