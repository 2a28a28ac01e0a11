package cleanup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"postrider/lib/header"
	"postrider/lib/mail"
	"postrider/lib/policy"
	"postrider/lib/proto"
	"postrider/lib/table"
)

// valueMax is how much of a captured field is kept, bytes.
const valueMax = 998

// capture is what the policy wants to know of a header; nil: there is no policy.
type capture struct {
	names []string // in lower case
}

// readCapture takes the names from the policy that master handed over.
func readCapture(open table.Opener) (*capture, error) {
	r, err := open(proto.PolicyFile)
	if errors.Is(err, fs.ErrNotExist) || err == nil && r.Size() == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if r.Size() > policy.EncodedMax {
		return nil, fmt.Errorf("%s is larger than %d bytes", proto.PolicyFile, policy.EncodedMax)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	p, err := policy.Decode(b)
	if err != nil {
		return nil, err
	}
	return &capture{names: p.Headers}, nil
}

// note keeps what the policy wants to know of one field: the first of each name, and what
// it says about who wrote the message.
func (c *capture) note(env *mail.Envelope, f header.Field) {
	for _, name := range c.names {
		if f.Is(name) && !captured(env, name) {
			env.Headers = append(env.Headers, mail.Header{Name: name, Value: value(f)})
		}
	}
	if k := kind(f); k != mail.User && (k != mail.Auto || env.Kind == mail.User) {
		env.Kind = k // a report counts before that it is automatic
	}
}

// kind is what a field says about who wrote the message; most say nothing.
func kind(f header.Field) mail.Kind {
	switch {
	case f.Is("Auto-Submitted"):
		if v, _, _ := strings.Cut(value(f), ";"); v != "" && !strings.EqualFold(strings.TrimSpace(v), "no") {
			return mail.Auto
		}
	case f.Is("Precedence"):
		switch strings.ToLower(value(f)) {
		case "bulk", "list", "junk":
			return mail.Auto
		}
	case f.Is("Content-Type"):
		v := strings.ToLower(value(f))
		if kind, _, _ := strings.Cut(v, ";"); strings.TrimSpace(kind) != "multipart/report" {
			return mail.User
		}
		if strings.Contains(v, "delivery-status") {
			return mail.DSN
		}
		return mail.Report
	}
	return mail.User
}

func captured(env *mail.Envelope, name string) bool {
	for i := range env.Headers {
		if env.Headers[i].Name == name {
			return true
		}
	}
	return false
}

// value is the text of a field as a policy sees it: unfolded, cut, control characters as
// blanks.
func value(f header.Field) string {
	b := f.Text(nil)
	if len(b) > valueMax {
		b = b[:valueMax]
	}
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = ' '
		}
	}
	return string(bytes.TrimSpace(b))
}
