package main

import (
	"fmt"
	"strings"
	"time"

	"postrider/lib/config"
	"postrider/lib/manual"
)

// files are the pages about files.
func files() []manual.Page {
	return []manual.Page{mainCF(), masterCF, aliases, tables}
}

// mainCF is postconf(5): the syntax, and every row of the table of parameters.
func mainCF() manual.Page {
	supported := manual.Section{Title: "Parameters", Text: "Each with its default."}
	without := manual.Section{Title: "Parameters without effect", Text: "Postfix's, accepted because nothing of what they ask for is missed. `postrider check` names those that are set."}
	missing := manual.Section{Title: "Parameters that are not supported", Text: "Postfix's, accepted, but what they ask for does not happen. `postrider check` and the log name those that are set."}
	for _, p := range config.Params() {
		term := title(p)
		switch p.Support {
		case config.Supported:
			supported.Items = append(supported.Items, manual.Item{Term: term, Text: plain(p.Help) + "\n\n" + limits(p)})
		case config.WithoutEffect:
			without.Items = append(without.Items, manual.Item{Term: term, Text: sentence(p.Why)})
		case config.Unsupported:
			missing.Items = append(missing.Items, manual.Item{Term: term, Text: sentence(p.Why)})
		}
	}
	return manual.Page{Name: "postconf", Section: 5, Aliases: []string{"main.cf"}, Summary: "parameters of the mail system", Synopsis: []string{"parameter", "parameter=value ..."},
		Text: `main.cf sets parameters, one a logical line, as ` + "`name = value`" + `. Names, syntax and defaults are Postfix's. A line that starts with a blank continues
the one before, also over comments; a line whose first character (after blanks) is # is a comment. The last setting of a name holds.

In a value, ` + "`$name`, `${name}` and `$(name)`" + ` stand for the value of another parameter, and ` + "`$$`" + ` for a dollar sign. ` + "`${name?text}`" + ` is text if the value is not empty,
` + "`${name:text}`" + ` if it is empty, ` + "`${name?{a}:{b}}`" + ` the one or the other. ` + "`${{a} == {b} ? {c} : {d}}`" + ` compares; so do !=, <, <=, >, >=, as numbers when both are numbers, and with
` + "`level`" + ` behind the sign (` + "`<level`" + `) as versions. A name that no parameter has may be set to be referred to.

A time is a number and s, m, h, d or w. A list has blanks or commas between its words; braces hold a word with blanks together. In a pattern list ` + "`/file`" + ` stands for the patterns in
that file, ` + "`type:table`" + ` for the keys of a table (postrider-tables(5)), and ! before a pattern excludes.

A parameter whose default is named default_x can be set for one transport NAME of master.cf as NAME_x. An option ` + "`-o name=value`" + ` in master.cf overrides a parameter for one service.`,
		More: []manual.Section{supported, without, missing}, See: []string{"postconf(1)", "master(5)", "postrider-tables(5)"}}
}

// limits says what values a parameter takes.
func limits(p config.Param) string {
	s := strings.ToUpper(p.Kind.String()[:1]) + p.Kind.String()[1:]
	switch p.Kind {
	case config.KindInt:
		s += fmt.Sprintf(", at least %d", p.Min)
		if p.Max != 0 {
			s += fmt.Sprintf(", at most %d", p.Max)
		}
	case config.KindTime:
		units := map[time.Duration]string{time.Millisecond: "milliseconds", time.Second: "seconds", time.Minute: "minutes", time.Hour: "hours", 24 * time.Hour: "days"}
		s += "; a number alone is " + units[p.Unit]
		if p.Max != 0 {
			s += fmt.Sprintf("; at most %d s", p.Max)
		}
	}
	if def := defaultOf(p); len(def) > 50 {
		s += "; by default " + divisible(def)
	}
	if p.Words != nil {
		s += " of: " + strings.Join(p.Words, ", ")
	}
	s += "."
	if p.Suffix != "" {
		s += " For one transport: NAME_" + p.Suffix + "."
	}
	return s
}

// title is a parameter with its default, when that is short.
func title(p config.Param) string {
	if def := defaultOf(p); len(def) <= 50 {
		return p.Name + " (" + def + ")"
	}
	return p.Name
}

// defaultOf is a parameter's default as a manual shows it.
func defaultOf(p config.Param) string {
	switch {
	case p.Computed():
		return "see below"
	case p.Default == "":
		return "empty"
	}
	return plain(p.Default)
}

// divisible lets a long word be divided over lines, without a hyphen.
func divisible(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; r == ' ' {
			n = 0
		} else if n%40 == 0 {
			b.WriteRune('\u200b')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// plain takes the marks of package manual out of a text.
func plain(s string) string { return strings.ReplaceAll(s, "`", "'") }

// sentence makes one of a reason.
func sentence(s string) string { return plain(strings.ToUpper(s[:1]) + s[1:] + ".") }

var masterCF = manual.Page{Name: "master", Section: 5, Aliases: []string{"master.cf"}, Summary: "services of the mail system",
	Text: `master.cf names the services of the mail system, one a logical line, in the columns of Postfix. Continuation lines and comments are as in main.cf (postconf(5)).
A - takes the default. Of two lines with the same name and type the last holds.`,
	More: []manual.Section{{Title: "Columns", Items: []manual.Item{
		{Term: "service", Text: "The name: for inet the address to listen at, as port or host:port, by name or number; else the name of a transport, for transport_maps and default_transport."},
		{Term: "type", Text: "`inet` or `unix`; `unix-dgram`, `fifo` and `pass` are read."},
		{Term: "private, unpriv", Text: "Read. Who may talk to whom, and as whom each daemon runs, is fixed."},
		{Term: "chroot", Text: "Has no effect: daemons lock themselves in without it."},
		{Term: "wakeup", Text: "Has no effect: nothing polls."},
		{Term: "maxproc", Text: "How many sessions (smtpd) or deliveries (the others) at once; 0 is no limit, - is `default_process_limit`."},
		{Term: "command", Text: "The program, with options `-o name=value` or, with blanks, `-o { name = value }`, which override main.cf for this service. Limits of a transport that qmgr(8) reads, such as smtp_destination_concurrency_limit, belong in main.cf."},
	}}, {Title: "Programs", Text: `smtpd, cleanup, qmgr, smtp, local, bounce; error, retry and discard are done by qmgr(8). Lines for pickup, rewrite, showq, defer, trace, flush, proxymap, scache, tlsmgr, anvil and postlog may stay:
no process is started for them, and the log says who does their work. A transport by a program that is not there has its mail deferred; ` + "`postrider check`" + ` names it.`}},
	See: []string{"master(8)", "postconf(5)"}}

var aliases = manual.Page{Name: "aliases", Section: 5, Summary: "where mail for names of this machine goes",
	Text: `/etc/aliases maps a name of this machine to where its mail goes, one a logical line:

    name: value, value ...

Names are looked up in lower case. Continuation lines and comments are as in main.cf (postconf(5)). A name in quotes may have blanks. After a change, run newaliases(1).`,
	More: []manual.Section{{Title: "Values", Items: []manual.Item{
		{Term: "address", Text: "Mail is sent on to it. A name without a domain is one of this machine; \\name is the user, whatever aliases say."},
		{Term: "|command", Text: "The command is run with the message as standard input."},
		{Term: "/file", Text: "The message is appended to the file."},
		{Term: ":include:/file", Text: "The values are in the file."},
	}}, {Title: "Special names", Text: "If there is an alias owner-NAME, problems of mail that went through NAME are reported to it. postmaster has to exist."}},
	See: []string{"newaliases(1)", "local(8)", "postconf(5)"}}

var tables = manual.Page{Name: "postrider-tables", Section: 5, Summary: "lookup tables",
	Text: `Parameters such as alias_maps, transport_maps and relay_recipient_maps name tables as ` + "`type:name`" + `. Tables are opened by master(8) and handed to the daemons that may read them. A changed
table is noticed, checked and used within a second, without a reload; one with a broken line is complained about with file and line, and the old contents stay.

A text table has one entry a logical line: the key, blanks, the value. Keys are looked up in lower case. Addresses are looked up as user+extension@domain, user@domain, the domain (and in transport_maps the
domains above it), in the order that postconf(5) of Postfix has for the parameter.`,
	More: []manual.Section{{Title: "Types", Items: []manual.Item{
		{Term: "hash, btree, lmdb, dbm, cdb", Text: "A table with an index, made of a text file by postmap(1) or postalias(1) where the table is large; without an index the text itself is read."},
		{Term: "texthash:/file", Text: "The text file itself."},
		{Term: "inline:{ key=value, { key = text with blanks } }", Text: "The entries themselves."},
		{Term: "static:value", Text: "The value for every key."},
		{Term: "unix:passwd.byname", Text: "The users of the machine."},
		{Term: "sqlite:/file", Text: "A database, for lookup in sched.cf alone; see proxymap(8). main.cf cannot name it: make a hash: table of it with postmap(1)."},
		{Term: "proxy:type:name", Text: "The same as type:name: no daemon opens tables anyway."},
	}}}, See: []string{"postconf(5)", "aliases(5)"}}
