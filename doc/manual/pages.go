package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"postrider/lib/manual"
	"postrider/master"
	"postrider/postcat"
	"postrider/postconf"
	"postrider/postdrop"
	"postrider/postmap"
	"postrider/postqueue"
	"postrider/postsched"
	"postrider/postsuper"
	"postrider/sendmail"
	ledger "postrider/test/ledger/command"
)

// pages are all manual pages; root is the top of the source, in which daemons are
// searched for the parameters that they read.
func pages(root string) ([]manual.Page, error) {
	all := []manual.Page{master.Manual(), postcat.Manual(), postconf.Manual(), postdrop.Manual(), postmap.Manual(), postsched.Manual(),
		postqueue.Manual(), postsuper.Manual(), sendmail.Manual(), ledger.Manual()}
	for i := range all {
		if err := options(&all[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", all[i].Name, err)
		}
	}
	ds, err := daemons(root)
	if err != nil {
		return nil, err
	}
	return append(append(all, ds...), files()...), nil
}

// options adds the options and arguments that kong knows of a command to its page.
func options(p *manual.Page) error {
	if p.Flags == nil {
		return nil
	}
	vars := kong.Vars{}
	for k, v := range p.Vars {
		vars[k] = v
	}
	k, err := kong.New(p.Flags, kong.Name(p.Name), kong.NoDefaultHelp(), vars)
	if err != nil {
		return err
	}
	p.Options = append(items(k.Model.Node), p.Options...)
	for _, c := range k.Model.Children {
		p.More = append([]manual.Section{}, p.More...)
		p.More = append(p.More, manual.Section{Title: p.Name + " " + c.Name, Text: c.Help, Items: items(c)})
	}
	return nil
}

// items are the arguments and options of a command, or of one of its subcommands.
func items(n *kong.Node) []manual.Item {
	var all []manual.Item
	for _, a := range n.Positional {
		all = append(all, manual.Item{Term: strings.ToUpper(a.Name), Text: a.Help})
	}
	for _, f := range n.Flags {
		if f.Hidden {
			continue
		}
		term := "--" + f.Name
		if f.Short != 0 {
			term = "-" + string(f.Short) + ", " + term
		}
		if !f.IsBool() && !f.IsCounter() && !(f.IsCumulative() && strings.HasPrefix(f.Help, "Accepted")) {
			term += " " + strings.Trim(f.FormatPlaceHolder(), "=,.")
		}
		all = append(all, manual.Item{Term: term, Text: f.Help})
	}
	return all
}
