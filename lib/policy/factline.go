package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"postrider/lib/mail"
)

// Lines gives what is known, as "name=value" for Set, a line each; what is empty is left out.
func (f *Facts) Lines() []string {
	var out []string
	add := func(name, value string) {
		if value != "" {
			out = append(out, name+"="+value)
		}
	}
	for _, x := range f.texts() {
		add(x.name, *x.to)
	}
	if f.HasPriority {
		add("priority", strconv.Itoa(f.Priority))
	}
	add("size", strconv.FormatInt(f.Size, 10))
	if f.Attempts > 0 {
		add("attempts", strconv.Itoa(f.Attempts))
	}
	if f.Age > 0 {
		add("age", f.Age.Truncate(time.Second).String())
	}
	for _, h := range f.Headers {
		add("header."+h.Name, h.Value)
	}
	return out
}

// texts are the facts that are texts, by name.
func (f *Facts) texts() []struct {
	name string
	to   *string
} {
	return []struct {
		name string
		to   *string
	}{{"sender", &f.Sender}, {"rcpt", &f.Rcpt}, {"transport", &f.Transport}, {"nexthop", &f.NextHop}, {"address_class", &f.Class},
		{"mx_group", &f.MXGroup}, {"source_kind", &f.SourceKind}, {"listener", &f.Listener}, {"sasl_user", &f.SASLUser},
		{"client_address", &f.ClientAddress}, {"last_class", &f.LastClass}}
}

// Set takes one fact of Lines, as an operator writes it, too: "attempts=3", "age=4h",
// "header.x-tenant=acme". Domains follow from the addresses. An error is of kind ErrSyntax.
func (f *Facts) Set(line string) error {
	name, value, ok := strings.Cut(line, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if header, is := strings.CutPrefix(name, "header."); ok && is && header != "" {
		f.Headers = append(f.Headers, Header{Name: strings.ToLower(header), Value: value})
		return nil
	}
	for i := range Catalogue {
		if c := &Catalogue[i]; ok && c.Name == name && c.Folded {
			value = strings.ToLower(value)
		}
	}
	for _, x := range f.texts() {
		if !ok || x.name != name {
			continue
		}
		switch *x.to = value; name {
		case "sender":
			f.SenderDomain = mail.Address(value).Domain()
		case "rcpt":
			f.RcptDomain = mail.Address(value).Domain()
		case "mx_group":
			f.MXKnown = true
		}
		return nil
	}
	var err error
	switch {
	case !ok:
		err = fmt.Errorf("%w", ErrSyntax)
	case name == "priority":
		f.Priority, err = strconv.Atoi(value)
		f.HasPriority = true
	case name == "attempts":
		f.Attempts, err = strconv.Atoi(value)
	case name == "size":
		f.Size, err = ParseSize(value)
	case name == "age":
		f.Age, err = ParseDuration(value)
	default:
		return fmt.Errorf("fact %q %w: there are sender, rcpt, transport, nexthop, address_class, mx_group, source_kind, listener, sasl_user, client_address, last_class, priority, attempts, size, age and header.NAME", line, ErrSyntax)
	}
	if err != nil {
		return fmt.Errorf("fact %q %w: write name=value", line, ErrSyntax)
	}
	return nil
}
