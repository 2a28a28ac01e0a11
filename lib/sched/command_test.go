package sched

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The arguments of the transcripts' commands.

// parse reads a message into s.message.
func (s *transcript) parse(args []string) error {
	id, err := strconv.ParseUint(args[0], 10, 64)
	msg := Message{ID: MsgID(id)}
	var terms *Terms
	pool := ""
	add := func(r Recipient) {
		r.Index = uint32(len(msg.Recipients))
		if r.Terms = terms; pool != "" {
			r.Source = s.m.Choose(pool, r)
		}
		msg.Recipients = append(msg.Recipients, r)
	}
	for _, a := range args[1:] {
		if a == "more" {
			msg.More = true
			continue
		}
		if when, value, ok := strings.Cut(a, "@"); ok && (when == "expire" || when == "notice") {
			at, err := duration(value)
			if err != nil {
				return err
			}
			if when == "expire" {
				msg.Expire = Time(at)
			} else {
				msg.Notice = Time(at)
			}
			continue
		}
		if a == "flush" {
			msg.Flush = true
			continue
		}
		if what, value, ok := strings.Cut(a, "@"); ok && !strings.Contains(what, ":") {
			if terms == nil {
				terms = &Terms{}
			}
			next := *terms
			terms = &next
			switch what {
			case "queue":
				terms.Queue = value
			case "level":
				terms.Level = map[string]Level{"low": Low, "normal": Normal, "high": High, "critical": Critical}[value]
			case "limit":
				name, key, _ := strings.Cut(value, "/")
				terms.Limits = append(slices.Clone(terms.Limits), LimitKey{name, key})
			case "window":
				terms.Window = value
			case "pool":
				pool = value
			}
			continue
		}
		transport, hop, ok := strings.Cut(a, ":")
		if !ok {
			return fmt.Errorf("bad recipient %q", a)
		}
		r := Recipient{Transport: transport, NextHop: hop}
		if hop, users, ok := strings.Cut(hop, "="); ok {
			for user := range strings.SplitSeq(users, ",") {
				r.NextHop, r.User = hop, user
				add(r)
			}
		} else if hop, n, ok := strings.Cut(hop, "*"); ok {
			r.NextHop = hop
			times, err := strconv.Atoi(n)
			if err != nil {
				return err
			}
			for range times {
				add(r)
			}
		} else {
			add(r)
		}
	}
	s.message = msg
	return err
}

func settings(args []string, into map[string]any) error {
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		var err error
		switch p := into[name].(type) {
		case *bool:
			*p, err = strconv.ParseBool(value)
		case *int:
			*p, err = strconv.Atoi(value)
		case *time.Duration:
			*p, err = duration(value)
		case *uint64:
			*p, err = strconv.ParseUint(value, 10, 64)
		case *float64:
			*p, err = strconv.ParseFloat(value, 64)
		case *Feedback:
			*p, err = ParseFeedback(value)
		default:
			err = fmt.Errorf("unknown setting %q", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// duration reads seconds, or a duration with its unit.
func duration(text string) (time.Duration, error) {
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	return time.ParseDuration(text)
}

// round rounds a time to a tenth of a second.
func (t Time) round() Time { return Time(time.Duration(t).Round(100 * time.Millisecond)) }

// seconds writes a time, without a unit when it is whole.
func seconds(t Time) string {
	return strconv.FormatFloat(time.Duration(t).Seconds(), 'f', -1, 64)
}

// endless is queues that never run dry.
type endless struct {
	has map[string]bool
	out *strings.Builder
}

func (e endless) give(name string) bool {
	if e.has[name] {
		e.out.WriteString(name + "\n")
	}
	return e.has[name]
}

func (e endless) Parked() bool       { return e.give("parked") }
func (e endless) Next(s Source) bool { return e.give(s.String()) }

func (s *transcript) look(out *strings.Builder, args []string) error {
	e := endless{map[string]bool{}, out}
	for _, name := range args[1:] {
		e.has[name] = true
	}
	n, err := strconv.Atoi(args[0])
	for range n {
		s.intake.Look(e)
	}
	return err
}
