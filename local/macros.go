package local

import (
	"strings"

	"postrider/lib/agent"
	"postrider/lib/config"
	"postrider/lib/proto"
)

// macros are the names that mailbox_command, forward_path and their like may use, with
// the values of one delivery.
type macros map[string]string

// macrosOf are those of a delivery to a name; a is nil when it is no user's.
func (s *site) macrosOf(r *agent.Request, rc *proto.DeliverRecipient, t *target) macros {
	local := rc.Address.Local()
	user, ext, _ := s.split.Split(local)
	m := macros{
		"local": local, "user": strings.ToLower(user), "extension": ext, "domain": rc.Address.Domain(),
		"recipient": string(rc.Address), "original_recipient": string(original(rc)), "sender": string(t.sender),
		"client_address": r.Client.Addr, "client_helo": r.Client.Helo, "client_hostname": r.Client.Name, "client_protocol": r.Client.Protocol,
		"recipient_delimiter": "",
	}
	if ext != "" {
		m["recipient_delimiter"] = s.delimiter1()
	}
	if t.here {
		m["user"] = t.user
		if a := s.accounts[t.user]; a != nil {
			m["home"], m["shell"] = a.home, a.shell
		}
	}
	return m
}

// expand puts the values into text. What came with the message loses the characters
// that are not in filter; home and shell are the administrator's. missing says that a
// name had no value.
func (m macros) expand(text, filter string) (out string, missing bool, err error) {
	out, err = config.Expand(text, func(name string) string {
		v := m[name]
		if v == "" {
			missing = true
		}
		if name == "home" || name == "shell" {
			return v
		}
		return filtered(v, filter)
	})
	return out, missing, err
}

// filtered replaces every byte that is not in filter by "_".
func filtered(v, filter string) string {
	b := []byte(v)
	for i, c := range b {
		if strings.IndexByte(filter, c) < 0 {
			b[i] = '_'
		}
	}
	return string(b)
}

// environment is what a command may know of the delivery (local(8)).
func (m macros) environment(user bool) []string {
	env := []string{"PATH=/usr/bin:/bin"}
	add := func(name, value string) {
		if strings.IndexByte(value, 0) < 0 {
			env = append(env, name+"="+value)
		}
	}
	if user {
		add("HOME", m["home"])
		add("USER", m["user"])
		add("LOGNAME", m["user"])
		if m["shell"] != "" {
			add("SHELL", m["shell"])
		}
	}
	for _, name := range []string{"local", "extension", "domain", "recipient", "original_recipient", "sender",
		"client_address", "client_helo", "client_hostname", "client_protocol"} {
		if v := m[name]; v != "" || name == "sender" {
			add(strings.ToUpper(name), v)
		}
	}
	return env
}
