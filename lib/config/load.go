package config

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Load reads and checks main.cf and master.cf in dir for this machine. The
// Config may serve when Problems.Err() is nil; it is there in any case, so that
// postconf can show a configuration that is wrong.
func Load(dir string) (*Config, Problems) {
	return Source{Dir: dir, Host: ThisHost(), ReadFile: os.ReadFile}.Load()
}

// Source is where a configuration is read from; tests make their own.
type Source struct {
	Dir      string
	Host     Host
	ReadFile func(path string) ([]byte, error)
}

// Load reads and checks main.cf and master.cf.
func (s Source) Load() (*Config, Problems) {
	l := loader{source: s, c: &Config{dir: s.Dir, host: s.Host, files: map[string]string{}}}
	l.main, l.master = filepath.Join(s.Dir, "main.cf"), filepath.Join(s.Dir, "master.cf")
	if text, ok := l.file(l.main); ok {
		settings, problems := ParseMain(l.main, text)
		l.c.main, l.problems = settings, problems
	}
	if text, ok := l.file(l.master); ok {
		services, problems := ParseMaster(l.master, text)
		l.c.services = services
		l.problems = append(l.problems, problems...)
	}
	l.checkMain()
	l.checkServices()
	l.checkUnused()
	return l.c, l.problems
}

type loader struct {
	source       Source
	main, master string
	c            *Config
	problems     Problems
}

func (l *loader) add(s Severity, file string, line int, text string) {
	l.problems = append(l.problems, Problem{s, file, line, text})
}

func (l *loader) file(name string) (string, bool) {
	b, err := l.source.ReadFile(name)
	if err != nil {
		l.add(Fatal, "", 0, "cannot read the configuration: "+err.Error()+" (choose the directory with -c or MAIL_CONFIG)")
		return "", false
	}
	return string(b), true
}

// read gives the text of a file in a pattern list and keeps it for the
// snapshot, since daemons open no such file.
func (l *loader) read(path string) (string, error) {
	if s, ok := l.c.files[path]; ok {
		return s, nil
	}
	b, err := l.source.ReadFile(path)
	if err != nil {
		return "", err
	}
	l.c.files[path] = string(b)
	return string(b), nil
}

// where returns the line of main.cf that sets a parameter, or 0.
func (l *loader) where(name string) int {
	for _, s := range l.c.main {
		if s.Name == name {
			return s.Line
		}
	}
	return 0
}

func (l *loader) checkMain() {
	c := l.c
	errs := c.build(l.read)
	for _, name := range []string{"inet_interfaces", "proxy_interfaces"} {
		if err := c.host.resolve(c.List(name)); err != nil {
			l.add(Fatal, l.main, l.where(name), name+": "+err.Error())
		}
	}
	if c.host.Names != nil { // mynetworks depends on them
		errs = c.build(l.read)
	}
	for _, s := range c.main {
		if p, ok := c.transportParam(s.Name); ok {
			if _, err := c.eval(&p, l.read); err != nil {
				errs = append(errs, paramError{s.Name, err})
			}
		}
	}
	for _, e := range errs {
		l.add(Fatal, l.main, l.where(e.name), e.err.Error())
	}
	if len(errs) == 0 {
		c.checkRestrictions(func(list, text string) { l.add(Warning, l.main, l.where(list), text) })
	}
	for _, s := range c.main {
		p, ok := Lookup(s.Name)
		if !ok {
			p, ok = c.transportParam(s.Name)
		}
		switch {
		case ok && p.Support == WithoutEffect:
			l.add(NoEffect, l.main, s.Line, s.Name+" has no effect: "+p.Why)
		case ok && p.Support == Unsupported:
			l.add(Missing, l.main, s.Line, s.Name+" is not supported: "+p.Why)
		}
	}
}

// checkServices checks each line of master.cf with its overrides.
func (l *loader) checkServices() {
	c := l.c
	limit := c.Int("default_process_limit")
	bad := map[string]bool{}
	for _, p := range l.problems {
		bad[p.Text] = true
	}
	for i := range c.services {
		s := &c.services[i]
		if s.MaxProc < 0 {
			s.MaxProc = limit
		}
		if len(s.Overrides) == 0 {
			continue
		}
		_, errs := c.with(s.settings(), l.read)
		for _, e := range errs {
			if !bad[e.err.Error()] { // what main.cf has wrong is said once
				l.add(Fatal, l.master, s.Line, e.err.Error())
			}
		}
	}
}

// checkUnused warns of names that no parameter of ours is and none refers to.
func (l *loader) checkUnused() {
	c := l.c
	used := map[string]bool{}
	var follow func(text string)
	follow = func(text string) {
		for _, name := range references(text) {
			if !used[name] {
				used[name] = true
				if s, ok := c.explicit[name]; ok {
					follow(s)
				}
			}
		}
	}
	known := func(name string) bool {
		_, ok := Lookup(name)
		if !ok {
			_, ok = c.transportParam(name)
		}
		return ok
	}
	for _, s := range c.main {
		if known(s.Name) {
			follow(s.Value)
		}
	}
	for _, s := range c.services {
		for _, v := range s.Overrides {
			follow(v)
		}
		for _, a := range s.Args {
			follow(a)
		}
	}
	for _, p := range table {
		if _, ok := c.explicit[p.Name]; !ok {
			follow(p.Default)
		}
	}
	for _, s := range c.main {
		if !known(s.Name) && !used[s.Name] {
			l.add(Unused, l.main, s.Line, "unused parameter: "+s.Name+"="+clip(s.Value))
		}
	}
	for _, s := range c.services {
		var names []string
		for name := range s.Overrides {
			if !known(name) && !used[name] {
				names = append(names, name)
			}
		}
		sort.Strings(names)
		for _, name := range names {
			l.add(Unused, l.master, s.Line, "unused parameter: "+name+"="+clip(s.Overrides[name]))
		}
	}
}

// references returns every name that text refers to, in whatever branch.
func references(text string) []string {
	var names []string
	for {
		i := strings.IndexByte(text, '$')
		if i < 0 {
			return names
		}
		text = text[i+1:]
		if text != "" && (text[0] == '{' || text[0] == '(') {
			text = strings.TrimLeft(text[1:], " \t")
		}
		n := nameLen(text)
		if n > 0 {
			names = append(names, text[:n])
		} else if text != "" && text[0] == '$' {
			n = 1
		}
		text = text[n:]
	}
}
