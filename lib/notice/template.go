// Package notice has the texts of reports to senders, in the form of bounce(5): those of
// Postfix, and an operator's in their place. bounce(8) writes its reports by them,
// postconf -t and -b show them. It reads no file.
package notice

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"postrider/lib/config"
)

// Template is the text of one kind of report, in the form of bounce(5): header fields,
// an empty line, and a text with $name for parameters of main.cf.
type Template struct {
	Charset    string
	From       string
	Subject    string
	Postmaster string // Postmaster-Subject: of the postmaster's copy
	Text       string // expanded; lines end with "\n"
}

// Names are the templates of bounce_template_file: of failures, delays, successes, and
// what would become of mail.
var Names = [...]string{"failure_template", "delay_template", "success_template", "verify_template"}

// Set is one template of each name.
type Set = [len(Names)]Template

// Templates are Postfix's texts, and in the place of some those of
// bounce_template_file. The error names what of the file is of no use; for that the
// default stands.
func Templates(c *config.Config, file string) (ts Set, err error) {
	if err := readTemplates(c, defaultTexts, &ts); err != nil {
		panic(err) // a programmer's mistake
	}
	return ts, readTemplates(c, file, &ts)
}

// Raw are the same, not expanded, as a template file has them. The error is the first
// that is in the form of the file.
func Raw(file string) (raw [len(Names)]string, err error) {
	for _, text := range []string{defaultTexts, file} {
		err = scan(text, func(k, _ int, lines []string) {
			raw[k] = Names[k] + " = <<EOF\n" + strings.Join(lines, "\n") + "\nEOF\n"
		})
	}
	return raw, err
}

// readTemplates takes what is good in any case; the error is the first.
func readTemplates(c *config.Config, file string, into *Set) error {
	var bad error
	err := scan(file, func(k, line int, lines []string) {
		t, err := parseTemplate(c, lines)
		if err == nil {
			into[k] = t
		} else if bad == nil {
			bad = fmt.Errorf("line %d: %w", line, err)
		}
	})
	if err == nil {
		err = bad
	}
	return err
}

// scan calls found with each "NAME = <<END", the lines of a template, and END: its place
// in Names, the line it starts at, and its lines. The error is the first.
func scan(file string, found func(k, line int, lines []string)) error {
	var first error
	bad := func(line int, format string, args ...any) {
		if first == nil {
			first = fmt.Errorf("line %d: %s", line, fmt.Sprintf(format, args...))
		}
	}
	lines := strings.Split(file, "\n")
	for n := 0; n < len(lines); n++ {
		line := strings.TrimSpace(lines[n])
		if line == "" || line[0] == '#' {
			continue
		}
		name, end, ok := strings.Cut(line, "=")
		end, here := strings.CutPrefix(strings.TrimSpace(end), "<<")
		if end = strings.TrimSpace(end); !ok || !here || end == "" {
			bad(n+1, "not of the form \"NAME_template = <<END\": %.60s", line)
			continue
		}
		start := n + 1
		for n++; n < len(lines) && lines[n] != end; n++ {
		}
		if n >= len(lines) {
			bad(start, "no line %q ends the template", end)
			break
		}
		k := kindOf(strings.TrimSpace(name))
		if k < 0 {
			bad(start, "%.60s is no template; there are %s", strings.TrimSpace(name), strings.Join(Names[:], ", "))
			continue
		}
		found(k, start, lines[start:n])
	}
	return first
}

func kindOf(name string) int {
	for k, s := range Names {
		if s == name {
			return k
		}
	}
	return -1
}

func parseTemplate(c *config.Config, lines []string) (t Template, err error) {
	t.Charset = "us-ascii"
	for n, line := range lines {
		if strings.TrimSpace(line) == "" {
			t.Text, err = expand(c, strings.Join(lines[n+1:], "\n")+"\n")
			break
		}
		name, value, ok := strings.Cut(line, ":")
		field, known := map[string]*string{"charset": &t.Charset, "from": &t.From, "subject": &t.Subject, "postmaster-subject": &t.Postmaster}[strings.ToLower(name)]
		if !ok || !known {
			return t, fmt.Errorf("%.60q: the header has Charset, From, Subject and Postmaster-Subject, and ends with an empty line", line)
		}
		*field = strings.TrimSpace(value)
	}
	switch {
	case err != nil:
		return t, err
	case t.From == "" || t.Subject == "":
		return t, fmt.Errorf("no field From or no field Subject")
	case t.Text == "":
		return t, fmt.Errorf("there is no text behind an empty line")
	}
	if t.Postmaster == "" {
		t.Postmaster = t.Subject
	}
	if !strings.Contains(t.From, "@") { // a name without a domain
		who, comment, _ := strings.Cut(t.From, " ")
		t.From = strings.TrimSpace(who + "@" + c.String("myorigin") + " " + comment)
	}
	return t, nil
}

// inUnits is a parameter that is a time, as a number of some unit.
var inUnits = regexp.MustCompile(`\$(?:\{([a-z0-9_]+)_(seconds|minutes|hours|days|weeks)\}|([a-z0-9_]+)_(seconds|minutes|hours|days|weeks)\b)`)

var unitOf = map[string]time.Duration{"seconds": time.Second, "minutes": time.Minute, "hours": time.Hour, "days": 24 * time.Hour, "weeks": 7 * 24 * time.Hour}

// expand puts the values of parameters in.
func expand(c *config.Config, text string) (string, error) {
	text = inUnits.ReplaceAllStringFunc(text, func(s string) string {
		m := inUnits.FindStringSubmatch(s)
		name, unit := m[1]+m[3], unitOf[m[2]+m[4]]
		if p, ok := config.Lookup(name); !ok || p.Kind != config.KindTime {
			return s
		}
		return units(c.Duration(name), unit)
	})
	return c.Expand(text)
}

// units rounds d to whole units, to the nearest.
func units(d, unit time.Duration) string {
	return strconv.FormatInt(int64((d+unit/2)/unit), 10)
}

// defaultTexts are Postfix's, as a bounce_template_file has them.
const defaultTexts = `
failure_template = <<EOF
Charset: us-ascii
From: MAILER-DAEMON (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
Postmaster-Subject: Postmaster Copy: Undelivered Mail

This is the mail system at host $myhostname.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system
EOF

delay_template = <<EOF
Charset: us-ascii
From: MAILER-DAEMON (Mail Delivery System)
Subject: Delayed Mail (still being retried)
Postmaster-Subject: Postmaster Warning: Delayed Mail

This is the mail system at host $myhostname.

####################################################################
# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #
####################################################################

Your message could not be delivered for more than $delay_warning_time_hours hour(s).
It will be retried until it is $maximal_queue_lifetime_days day(s) old.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system
EOF

success_template = <<EOF
Charset: us-ascii
From: MAILER-DAEMON (Mail Delivery System)
Subject: Successful Mail Delivery Report

This is the mail system at host $myhostname.

Your message was successfully delivered to the destination(s)
listed below. If the message was delivered to mailbox you will
receive no further notifications. Otherwise you may still receive
notifications of mail delivery errors from other systems.

                   The mail system
EOF

verify_template = <<EOF
Charset: us-ascii
From: MAILER-DAEMON (Mail Delivery System)
Subject: Mail Delivery Status Report

This is the mail system at host $myhostname.

Enclosed is the mail delivery report that you requested.

                   The mail system
EOF
`
