package bounce

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"postrider/lib/config"
)

// template is the text of one kind of report, in the form of bounce(5): header fields,
// an empty line, and a text with $name for parameters of main.cf.
type template struct {
	charset    string // Charset
	from       string // From
	subject    string // Subject
	postmaster string // Postmaster-Subject: of the postmaster's copy
	text       string // expanded; lines end with "\n"
}

// templateNames are the templates of bounce_template_file, by kind of report.
var templateNames = [...]string{failed: "failure_template", delayed: "delay_template", delivered: "success_template", verified: "verify_template"}

// templates are Postfix's texts, and in the place of some those of
// bounce_template_file. The error names what of the file is of no use; for that the
// default stands.
func templates(c *config.Config, file string) (ts [len(templateNames)]template, err error) {
	if err := readTemplates(c, defaultTexts, &ts); err != nil {
		panic(err) // a programmer's mistake
	}
	return ts, readTemplates(c, file, &ts)
}

// readTemplates reads "NAME = <<END", the lines of a template, and END. What is good is
// taken in any case; the error is the first.
func readTemplates(c *config.Config, file string, into *[len(templateNames)]template) error {
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
			bad(start, "%.60s is no template; there are %s", strings.TrimSpace(name), strings.Join(templateNames[:], ", "))
			continue
		}
		t, err := parseTemplate(c, lines[start:n])
		if err != nil {
			bad(start, "%v", err)
			continue
		}
		into[k] = t
	}
	return first
}

func kindOf(name string) int {
	for k, s := range templateNames {
		if s == name {
			return k
		}
	}
	return -1
}

func parseTemplate(c *config.Config, lines []string) (t template, err error) {
	t.charset = "us-ascii"
	for n, line := range lines {
		if strings.TrimSpace(line) == "" {
			t.text, err = expand(c, strings.Join(lines[n+1:], "\n")+"\n")
			break
		}
		name, value, ok := strings.Cut(line, ":")
		field, known := map[string]*string{"charset": &t.charset, "from": &t.from, "subject": &t.subject, "postmaster-subject": &t.postmaster}[strings.ToLower(name)]
		if !ok || !known {
			return t, fmt.Errorf("%.60q: the header has Charset, From, Subject and Postmaster-Subject, and ends with an empty line", line)
		}
		*field = strings.TrimSpace(value)
	}
	switch {
	case err != nil:
		return t, err
	case t.from == "" || t.subject == "":
		return t, fmt.Errorf("From: or Subject: is missing")
	case t.text == "":
		return t, fmt.Errorf("there is no text behind an empty line")
	}
	if t.postmaster == "" {
		t.postmaster = t.subject
	}
	if !strings.Contains(t.from, "@") { // a name without a domain
		who, comment, _ := strings.Cut(t.from, " ")
		t.from = strings.TrimSpace(who + "@" + c.String("myorigin") + " " + comment)
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
