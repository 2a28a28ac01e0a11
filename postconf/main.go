// Package postconf shows and changes the configuration: the command of
// Postfix's name, with its most used options. It reads main.cf and master.cf
// and writes only main.cf, under a lock and by rename.
package postconf

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
	"postrider/lib/config"
)

// options are the command line. -h is Postfix's "value only", so help is
// --help alone.
type options struct {
	Help     bool     `help:"Show this text."`
	Config   string   `short:"c" placeholder:"DIR" help:"Directory of main.cf (else MAIL_CONFIG, else /etc/postrider)."`
	Defaults bool     `short:"d" help:"Show defaults instead of the settings."`
	Changed  bool     `short:"n" help:"Show only what main.cf sets."`
	NoName   bool     `short:"h" help:"Show values without names."`
	NoValue  bool     `short:"H" help:"Show names without values."`
	Expand   bool     `short:"x" help:"Replace $$name by its value."`
	Explain  bool     `short:"v" help:"Show type and meaning of each parameter too."`
	Override []string `short:"o" sep:"none" placeholder:"NAME=VALUE" help:"Show as if main.cf said so."`
	Main     bool     `short:"p" help:"Show main.cf (as without it)."`
	Edit     bool     `short:"e" help:"Set each NAME=VALUE in main.cf."`
	Remove   bool     `short:"X" help:"Remove each NAME from main.cf."`
	Comment  bool     `short:"#" help:"Turn the setting of each NAME into a comment."`
	Master   bool     `short:"M" help:"Show master.cf, or the lines of NAME or NAME/TYPE."`
	Names    []string `arg:"" optional:"" name:"name" help:"Parameters to show, or NAME=VALUE to set."`
}

// Main runs the command and ends the process.
func Main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	var o options
	parser, err := kong.New(&o, kong.Name("postconf"), kong.NoDefaultHelp(), kong.Writers(stdout, stderr),
		kong.Description("Show or change the configuration."))
	if err != nil {
		panic(err) // the options above are wrong
	}
	ctx, err := parser.Parse(args)
	if err == nil && o.Help {
		err = ctx.PrintUsage(false)
		if err == nil {
			return 0
		}
	}
	if err == nil {
		err = o.do(stdout, stderr)
	}
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(stderr, "postconf: fatal: %s\n", strings.TrimRight(line, "\n"))
		}
		return 1
	}
	return 0
}

func (o *options) do(stdout, stderr io.Writer) error {
	dir := config.Dir(o.Config)
	warn := func(text string) { fmt.Fprintf(stderr, "postconf: warning: %s\n", text) }
	if o.Master {
		return showMaster(filepath.Join(dir, "master.cf"), o.Names, stdout, warn)
	}
	if o.edits() {
		return o.edit(dir, warn)
	}
	if o.Defaults { // those of this machine, whatever main.cf says
		cfg, _ := config.Source{Dir: dir, Host: config.ThisHost(),
			ReadFile: func(string) ([]byte, error) { return nil, nil }}.Load()
		return o.show(cfg, nil, stdout, warn)
	}
	// A main.cf that is no main.cf ends the command, as in Postfix; a wrong
	// value is shown with a warning.
	mainCF := filepath.Join(dir, "main.cf")
	text, err := os.ReadFile(mainCF)
	if err != nil {
		return fmt.Errorf("%w (choose the directory with -c or MAIL_CONFIG)", err)
	}
	if _, ps := config.ParseMain(mainCF, string(text)); ps.Err() != nil {
		return ps.Err()
	}
	cfg, problems := config.Load(dir)
	for _, p := range problems {
		switch p.Severity {
		case config.Unused:
			if len(o.Names) == 0 {
				warn(p.File + ": " + p.Text)
			}
		case config.Fatal, config.Warning:
			warn(p.String())
		}
	}
	if len(o.Override) > 0 {
		over := map[string]string{}
		for _, s := range o.Override {
			name, value, ok := strings.Cut(s, "=")
			if !ok {
				return fmt.Errorf("-o %s: write -o NAME=VALUE", s)
			}
			over[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
		if cfg, err = cfg.With(over); err != nil {
			return err
		}
	}
	return o.show(cfg, problems, stdout, warn)
}

// edits says whether main.cf is to be changed: by an option, or because the
// arguments are settings.
func (o *options) edits() bool {
	if o.Edit || o.Remove || o.Comment {
		return true
	}
	for _, n := range o.Names {
		if strings.Contains(n, "=") {
			return true
		}
	}
	return false
}
