// Package manual is the form that a program gives its manual page in, next to the code
// that the page is about, and writes pages as man(7) text. It imports nothing of ours
// and touches nothing; doc/manual collects the pages and makes files of them.
package manual

import (
	"fmt"
	"strings"
)

// Page is one manual page. In all texts `this` is printed bold, and a blank line ends a
// paragraph; a line that starts with a blank is shown as it is.
type Page struct {
	Name     string // "postqueue"
	Section  int    // 1 commands, 5 files, 8 daemons
	Aliases  []string
	Summary  string   // behind the name, without full stop
	Synopsis []string // one line a form, without the name
	Text     string   // the description
	Flags    any      // of a command: the struct that kong parses into
	Vars     map[string]string
	Options  []Item // of a command: options that are not in Flags
	More     []Section
	See      []string // "postconf(5)"
}

// Section is a further section of a page.
type Section struct {
	Title string
	Text  string
	Items []Item
}

// Item is a term and what it means.
type Item struct {
	Term, Text string
}

// Man returns the page as man(7) text.
func (p *Page) Man(version string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s %d \"\" \"Postrider %s\"\n", strings.ToUpper(quote(p.Name)), p.Section, version)
	b.WriteString(".ad l\n.nh\n.SH NAME\n") // names of parameters are not to be divided or spread
	b.WriteString(strings.Join(append([]string{p.Name}, p.Aliases...), ", ") + " \\- " + escape(p.Summary) + "\n")
	if p.Synopsis != nil {
		b.WriteString(".SH SYNOPSIS\n.nf\n")
		for _, s := range p.Synopsis {
			name := p.Name
			if word, rest, _ := strings.Cut(s, " "); contains(p.Aliases, word) {
				name, s = word, rest
			}
			b.WriteString("\\fB" + escape(name) + "\\fR " + escape(s) + "\n")
		}
		b.WriteString(".fi\n")
	}
	Section{Title: "DESCRIPTION", Text: p.Text}.write(&b)
	if len(p.Options) > 0 {
		Section{Title: "OPTIONS", Items: p.Options}.write(&b)
	}
	for _, s := range p.More {
		s.write(&b)
	}
	if len(p.See) > 0 {
		b.WriteString(".SH SEE ALSO\n" + escape(strings.Join(p.See, ", ")) + "\n")
	}
	return b.String()
}

// Help is what --help prints: the forms and the options, one screen of 80 columns.
func (p *Page) Help() string {
	const column = 24
	var b strings.Builder
	for i, s := range p.Synopsis {
		if i == 0 || !contains(p.Aliases, strings.Fields(s)[0]) {
			s = p.Name + " " + s
		}
		fmt.Fprintf(&b, "%-6s %s\n", map[bool]string{true: "Usage:"}[i == 0], s)
	}
	b.WriteByte('\n')
	for _, o := range p.Options {
		n, _ := fmt.Fprintf(&b, "  %-*s", column-3, o.Term)
		for _, w := range strings.Fields(o.Text) {
			if n+1+len(w) >= 80 {
				b.WriteString("\n" + strings.Repeat(" ", column-1))
				n = column - 1
			}
			m, _ := fmt.Fprintf(&b, " %s", w)
			n += m
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (s Section) write(b *strings.Builder) {
	b.WriteString(".SH " + strings.ToUpper(quote(s.Title)) + "\n")
	paragraphs(b, s.Text, ".PP\n")
	for _, i := range s.Items {
		b.WriteString(".TP\n.B " + quote(i.Term) + "\n")
		if strings.TrimSpace(i.Text) == "" {
			b.WriteString("\\&\n")
		}
		paragraphs(b, i.Text, ".IP\n")
	}
}

// paragraphs writes text; between stands before every paragraph but the first.
func paragraphs(b *strings.Builder, text, between string) {
	open, asIs, some := false, false, false
	end := func() {
		if asIs {
			b.WriteString(".fi\n")
		}
		open, asIs = false, false
	}
	for line := range strings.Lines(strings.Trim(text, "\n")) {
		line = strings.TrimRight(line, " \n")
		switch {
		case line == "":
			end()
			continue
		case !open:
			if some {
				b.WriteString(between)
			}
			open, some = true, true
			if line[0] == ' ' || line[0] == '\t' {
				asIs = true
				b.WriteString(".nf\n")
			}
		}
		if s := escape(line); asIs {
			b.WriteString("\\&" + s + "\n")
		} else {
			b.WriteString(s + "\n")
		}
	}
	end()
}

// escape makes plain text of s, with what stands in backquotes in bold.
func escape(s string) string {
	var b strings.Builder
	bold := false
	for i, r := range s {
		switch {
		case r == '`':
			if bold = !bold; bold {
				b.WriteString("\\fB")
			} else {
				b.WriteString("\\fR")
			}
		case r == '\\':
			b.WriteString("\\e")
		case r == '\u200b': // where a long word may be divided
			b.WriteString("\\:")
		case r == '-':
			b.WriteString("\\-")
		case r == '^':
			b.WriteString("\\(ha")
		case r == '~':
			b.WriteString("\\(ti")
		case i == 0 && (r == '.' || r == '\''):
			b.WriteString("\\&" + string(r))
		case r == '\'':
			b.WriteString("\\(aq")
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// quote makes one argument of a macro of s.
func quote(s string) string {
	s = strings.ReplaceAll(escape(s), `"`, `\(dq`)
	if strings.ContainsAny(s, " \t") {
		return `"` + s + `"`
	}
	return s
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
