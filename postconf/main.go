// Package postconf shows and changes the configuration: the command of
// Postfix's name. It reads main.cf and master.cf, and writes the one or the
// other, under a lock and by rename.
//
//	main.go    options, and what a run does
//	show.go    parameters of main.cf
//	entries.go the lines of master.cf, where they stand in the text
//	master.go  -M, -F and -P: what they show
//	change.go  -M, -F and -P: what they change
//	edit.go    changes to main.cf; how a file is replaced
//	lists.go   -m, -a, -A, -l, -b and -t
package postconf

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
	"postrider/lib/config"
)

// options are the command line. -h is Postfix's "value only", so help is
// --help alone. Each help is one line on a terminal, all of them one screen.
type options struct {
	Help      bool     `help:"Show this text."`
	Config    string   `short:"c" placeholder:"DIR" help:"Directory of main.cf (else $$MAIL_CONFIG)."`
	Defaults  bool     `short:"d" help:"Show defaults, not the settings."`
	Changed   bool     `short:"n" help:"Show only what is set."`
	Expand    bool     `short:"x" help:"Replace $$name by its value."`
	Fold      bool     `short:"f" help:"Fold long lines."`
	NoName    bool     `short:"h" help:"Show values without names."`
	NoValue   bool     `short:"H" help:"Show names without values."`
	Explain   bool     `short:"v" help:"Show type and meaning, too."`
	Quiet     bool     `short:"q" help:"Do not warn of unused names."`
	Override  []string `short:"o" sep:"none" placeholder:"NAME=VALUE" help:"Show as if main.cf said so."`
	Class     []string `short:"C" placeholder:"CLASS" help:"Of: builtin,service,user,all."`
	Edit      bool     `short:"e" help:"Set each NAME=VALUE."`
	Remove    bool     `short:"X" help:"Remove each NAME."`
	Comment   bool     `short:"#" help:"Comment out each NAME."`
	Main      bool     `short:"p" help:"In main.cf, as without."`
	Master    bool     `short:"M" xor:"part" help:"master.cf: lines, SERVICE/TYPE."`
	Field     bool     `short:"F" xor:"part" help:"master.cf: SERVICE/TYPE/FIELD."`
	Parameter bool     `short:"P" xor:"part" help:"master.cf: SERVICE/TYPE/PARAMETER."`
	Maps      bool     `short:"m" help:"List types of tables."`
	Servers   bool     `short:"a" name:"sasl-server" help:"List SASL types of smtpd."`
	Clients   bool     `short:"A" name:"sasl-client" help:"List SASL types of smtp."`
	Locks     bool     `short:"l" help:"List locks of mailboxes."`
	Expanded  bool     `short:"b" name:"bounces" help:"Show bounce texts, expanded."`
	Templates bool     `short:"t" help:"Show bounce templates."`
	TLS       string   `short:"T" placeholder:"MODE" help:"TLS library: compile-version, run-version, public-key-algorithms."`
	JSON      bool     `short:"j" help:"One JSON object a line: name and value."`
	Names     []string `arg:"" optional:"" name:"name" help:"What to show, or NAME=VALUE to set."`
}

// Main runs the command and ends the process.
func Main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// command is one run of the program.
type command struct {
	options
	dir  string
	out  *bufio.Writer
	warn func(text string)
}

func run(args []string, stdout, stderr io.Writer) int {
	c := command{out: bufio.NewWriter(stdout)}
	c.warn = func(text string) { fmt.Fprintf(stderr, "postconf: warning: %s\n", text) }
	parser, err := kong.New(&c.options, kong.Name("postconf"), kong.NoDefaultHelp(), kong.Writers(stdout, stderr),
		kong.Description("Show or change the configuration."))
	if err != nil {
		panic(err) // the options above are wrong
	}
	ctx, err := parser.Parse(args)
	if err == nil && c.Help {
		err = ctx.PrintUsage(false)
		if err == nil {
			return 0
		}
	}
	if err == nil {
		c.dir = config.Dir(c.Config)
		err = c.do()
	}
	if e := c.out.Flush(); err == nil {
		err = e
	}
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(stderr, "postconf: fatal: %s\n", strings.TrimRight(line, "\n"))
		}
		return 1
	}
	return 0
}

func (c *command) do() error {
	inMaster := c.Master || c.Field || c.Parameter
	if c.lists() {
		return c.list()
	}
	if (c.Comment || c.Edit) && c.Remove || c.Comment && c.Edit {
		return errors.New("specify only one of -e, -X and -#")
	}
	if c.JSON && (inMaster || c.edits()) {
		return errors.New("-j shows parameters of main.cf only")
	}
	switch {
	case inMaster && c.edits():
		return c.editMaster()
	case inMaster:
		return c.showMaster()
	case c.edits():
		return c.edit()
	case c.Defaults: // those of this machine, whatever main.cf says
		cfg, _ := config.Source{Dir: c.dir, Host: config.ThisHost(),
			ReadFile: func(string) ([]byte, error) { return nil, nil }}.Load()
		return c.show(cfg, nil)
	}
	cfg, problems, err := c.load()
	if err != nil {
		return err
	}
	return c.show(cfg, problems)
}

// load reads the configuration, with the overrides of -o. A main.cf that is no main.cf
// ends the command, as in Postfix; a wrong value is warned of.
func (c *command) load() (*config.Config, config.Problems, error) {
	mainCF := filepath.Join(c.dir, "main.cf")
	text, err := os.ReadFile(mainCF)
	if err != nil {
		return nil, nil, fmt.Errorf("%w (choose the directory with -c or MAIL_CONFIG)", err)
	}
	if _, ps := config.ParseMain(mainCF, string(text)); ps.Err() != nil {
		return nil, nil, ps.Err()
	}
	cfg, problems := config.Load(c.dir)
	for _, p := range problems {
		switch p.Severity {
		case config.Unused:
			if len(c.Names) == 0 && !c.Quiet {
				c.warn(p.File + ": " + p.Text)
			}
		case config.Fatal, config.Warning:
			c.warn(p.String())
		}
	}
	if len(c.Override) > 0 {
		over := map[string]string{}
		for _, s := range c.Override {
			name, value, ok := strings.Cut(s, "=")
			if !ok {
				return nil, nil, fmt.Errorf("-o %s: write -o NAME=VALUE", s)
			}
			over[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
		if cfg, err = cfg.With(over); err != nil {
			return nil, nil, err
		}
	}
	return cfg, problems, nil
}

// edits says whether a file is to be changed: by an option, or because the
// arguments are settings.
func (c *command) edits() bool {
	if c.Edit || c.Remove || c.Comment {
		return true
	}
	for _, n := range c.Names {
		if strings.Contains(n, "=") {
			return true
		}
	}
	return false
}
