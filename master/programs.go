package master

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"postrider/lib/config"
	"postrider/lib/maildrop"
	"postrider/lib/proto"
	"postrider/lib/table"
	"postrider/lib/tlsconf"
)

// program is one of the daemons.
type program struct {
	name    string
	account func(*accounts) account // whom it runs as; nil: root
	groups  func(*accounts) []uint32
	inQueue bool                          // works in queue_directory
	writer  bool                          // holds the spool's lock
	notes   bool                          // notes what it reads (package suspect)
	files   []string                      // files it reads besides tables
	named   []string                      // parameters that name such a file
	dials   func(*config.Config) []string // what a service of it may be connected to
	secrets func(*config.Config) secrets  // and those that a service of it names for TLS and logins
	without []string                      // prefixes of parameters whose tables it does not use
	only    []string                      // if not nil: prefixes of those it uses
	notAny  bool                          // uses no tables at all
	count   func(*config.Config) int      // processes; nil: one
}

var resolver = []string{"/etc/resolv.conf", "/etc/hosts"}

// programs are all daemons, in the order in which they are started.
var programs = []program{
	{name: "cleanup", account: func(a *accounts) account { return a.msg },
		groups:  func(a *accounts) []uint32 { return []uint32{a.postdrop} }, // submissions belong to it
		inQueue: true, writer: true, notes: true, files: []string{"/etc/passwd"}, without: []string{"smtpd_", "smtp_", "lmtp_", "mailbox_", "fallback_transport", "authorized_"}},
	{name: "qmgr", account: func(a *accounts) account { return a.owner },
		inQueue: true, writer: true, notes: true, files: []string{"/etc/passwd"}, without: []string{"smtpd_", "smtp_", "lmtp_", "mailbox_", "fallback_transport"}},
	{name: "bounce", account: func(a *accounts) account { return a.bounce }, writer: true, notAny: true, named: []string{"bounce_template_file"}},
	{name: "local", inQueue: true, writer: true, files: []string{"/etc/passwd", "/etc/group"}, without: []string{"smtpd_", "smtp_", "lmtp_", "authorized_"}},
	{name: "smtp", account: func(a *accounts) account { return a.out }, files: resolver, only: []string{"smtp_", "mydestination"}, secrets: clientSecrets("smtp_"),
		count: func(c *config.Config) int { return processes(c, 1+min(runtime.NumCPU()/8, 1)) }},
	{name: "lmtp", account: func(a *accounts) account { return a.out }, files: resolver, only: []string{"lmtp_", "mydestination"}, secrets: clientSecrets("lmtp_")},
	{name: "smtpd", account: func(a *accounts) account { return a.in }, files: resolver, secrets: serverSecrets, dials: serverDials, without: []string{"smtp_", "lmtp_", "mailbox_", "fallback_transport", "authorized_"},
		count: func(c *config.Config) int { return processes(c, 1+min(runtime.NumCPU()/4, 1)) }},
}

// databaseProgram asks the databases that a policy names; without such a policy it does not
// run. It has the account of a program that owns nothing: it runs a large engine on what
// strangers write.
var databaseProgram = program{name: "proxymap", account: func(a *accounts) account { return a.bounce }}

func processes(c *config.Config, usual int) int {
	if n := c.Int("default_process_count"); n > 0 {
		return n
	}
	return usual
}

// partners are the conversations between daemons: each process of one program
// with each of the other. A daemon knows its partner by the partner's name.
var partners = [][2]string{
	{"smtpd", "cleanup"}, {"smtp", "cleanup"}, {"lmtp", "cleanup"}, {"bounce", "cleanup"}, {"local", "cleanup"}, {"qmgr", "cleanup"},
	{"smtpd", "smtp"}, {"smtp", "qmgr"}, {"lmtp", "qmgr"}, {"local", "qmgr"}, {"bounce", "qmgr"},
	{"proxymap", "qmgr"},
}

// instance is one process of a program.
type instance struct {
	*program
	number, of int
	alone      bool // for suspects only
}

// label is how partners and logs call the process: "smtpd.1", "cleanup".
func (i instance) label() string {
	if i.alone {
		return i.name + proto.AloneSuffix
	}
	if i.count == nil {
		return i.name
	}
	return i.name + "." + strconv.Itoa(i.number)
}

// place is how a line of master.cf is served here.
type place struct {
	program string // the daemon, or ""
	note    string // who does the work, when the command itself is not there
	missing bool   // nobody does it yet
}

// placeOf says who serves a line of master.cf.
func placeOf(s config.Service) place {
	command := filepath.Base(s.Command)
	switch command {
	case "smtpd":
		if s.Type != "inet" {
			return place{missing: true, note: "smtpd serves inet sockets only"}
		}
		return place{program: "smtpd"}
	case "smtp", "lmtp", "local", "bounce", "cleanup", "qmgr":
		return place{program: command}
	case "oqmgr":
		return place{program: "qmgr"}
	case "error", "retry", "discard":
		return place{program: "qmgr"}
	}
	switch command {
	case "pickup":
		return place{note: "cleanup does its work"}
	case "trivial-rewrite", "showq":
		return place{note: "qmgr does its work"}
	case "scache":
		return place{note: "smtp does its work"}
	case "tlsmgr", "anvil":
		return place{note: "smtpd and smtp do its work"}
	case "proxymap":
		return place{note: "master opens the tables for all, and starts it for databases of sched.cf"}
	case "postlogd":
		return place{note: "every program writes the log itself"}
	case "pipe", "virtual", "spawn":
		return place{missing: true, note: "mail for it is deferred"}
	case "flush":
		return place{missing: true, note: "ETRN is not offered"}
	case "verify":
		return place{missing: true, note: "addresses are not probed"}
	}
	return place{missing: true, note: "the line is left out"}
}

// notes are lines about what master.cf asks for and is done otherwise, or not.
func notes(c *config.Config) (info, warnings []string) {
	for _, s := range c.Services() {
		p := placeOf(s)
		text := fmt.Sprintf("service %s/%s (%s): ", s.Name, s.Type, filepath.Base(s.Command))
		switch {
		case p.missing:
			warnings = append(warnings, text+"not available in this version: "+p.note)
		case p.note != "":
			info = append(info, text+p.note)
		}
	}
	return info, warnings
}

// plan is what a configuration asks for.
type plan struct {
	config    *config.Config
	snapshot  []byte
	instances []instance
	listens   []listen
	tables    map[string][]string     // by program: paths
	files     map[string][]string     // by program: paths
	specs     map[string][]string     // by path: the tables ("texthash:/path") that are read from it
	keep      map[string]capabilities // by program: what is left of root's
	dials     map[string][]string     // by program: what it may be connected to
	pairs     []tlsconf.Pair          // certificates with their keys
	copied    map[string]bool         // by path: handed out as a copy, as tables are
	policy    compiled                // of sched.cf
}

// newPlan works the plan out. An error is about master.cf's inet lines, or a database where
// none can be asked.
func newPlan(c *config.Config) (*plan, error) {
	s := c.Snapshot()
	p := &plan{config: c, snapshot: s.Append(nil), tables: map[string][]string{}, files: map[string][]string{}, specs: map[string][]string{}, keep: map[string]capabilities{},
		copied: map[string]bool{}, dials: map[string][]string{}}
	used := map[string]bool{"cleanup": true, "qmgr": true, "bounce": true}
	configs := map[string][]*config.Config{}
	for _, s := range c.Services() {
		name := placeOf(s).program
		if name == "" {
			continue
		}
		used[name] = true
		own, err := c.ForService(s)
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", s.Name, s.Type, err)
		}
		configs[name] = append(configs[name], own)
		if name == "smtpd" {
			ls, err := listensOf(c, s)
			if err != nil {
				return nil, fmt.Errorf("%s/%s: %w", s.Name, s.Type, err)
			}
			p.listens = append(p.listens, ls...)
		}
	}
	p.listens = append(p.listens,
		listen{name: proto.OperatorSocket, program: "qmgr", path: filepath.Join(c.String("queue_directory"), "public/qmgr")},
		listen{name: "public/pickup", program: "cleanup", path: filepath.Join(c.String("queue_directory"), "public/pickup")},
		listen{name: maildrop.Socket, program: "cleanup", path: filepath.Join(c.String("queue_directory"), maildrop.Socket)})
	for i := range programs {
		pr := &programs[i]
		if !used[pr.name] {
			continue
		}
		of := 1
		if pr.count != nil {
			of = pr.count(c)
		}
		for n := range of {
			p.instances = append(p.instances, instance{program: pr, number: n, of: of})
		}
		for _, own := range append(configs[pr.name], c) {
			if err := noDatabases(own); err != nil {
				return nil, err
			}
			p.noteSpecs(own)
			p.tables[pr.name] = union(p.tables[pr.name], pr.tables(own))
		}
		p.files[pr.name] = slices.Clone(pr.files)
		for _, name := range pr.named {
			if path := c.String(name); path != "" {
				p.files[pr.name] = append(p.files[pr.name], path)
			}
		}
		for _, own := range configs[pr.name] {
			if pr.secrets != nil {
				p.take(pr.name, pr.secrets(own))
			}
			if pr.dials != nil {
				p.dials[pr.name] = union(p.dials[pr.name], pr.dials(own))
			}
		}
		if pr.account == nil {
			p.keep[pr.name] = forLocal(append(configs[pr.name], c))
		}
	}
	return p, nil
}

// onlyMade names tables that newaliases makes and that no daemon looks into.
const onlyMade = "alias_database"

// tables returns the paths of the tables that the program may look into.
func (p *program) tables(c *config.Config) []string {
	if p.notAny {
		return nil
	}
	has := func(name string, prefixes []string) bool {
		return slices.ContainsFunc(prefixes, func(x string) bool { return strings.HasPrefix(name, x) })
	}
	var paths []string
	for _, param := range config.Params() {
		if param.Name == onlyMade || param.Kind != config.KindList && param.Kind != config.KindMatch || has(param.Name, p.without) || p.only != nil && !has(param.Name, p.only) {
			continue
		}
		paths = union(paths, table.Files(c.List(param.Name)))
	}
	if p.name == "smtpd" {
		paths = union(paths, table.Files(c.ClassTables()))
	}
	return paths
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}
