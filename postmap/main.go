package postmap

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"postrider/lib/config"
	"postrider/lib/getopt"
	"postrider/lib/sysexits"
	"postrider/lib/table"
)

// Main runs the command and ends the process.
func Main() {
	c := &command{name: "postmap", in: os.Stdin, out: os.Stdout, err: os.Stderr}
	if len(os.Args) > 0 && filepath.Base(os.Args[0]) == "postalias" {
		c.name, c.alias = "postalias", true
	}
	os.Exit(c.main(os.Args[1:]))
}

// command is one run.
type command struct {
	name     string
	alias    bool // postalias: the text has the syntax of aliases(5)
	in       io.Reader
	out, err io.Writer

	dir         string // -c
	query       string // -q
	remove      string // -d
	asked       bool   // -q was given
	removing    bool   // -d was given
	list        bool   // -s
	incremental bool   // -i
	replace     bool   // -r
	ignore      bool   // -w
	nul         bool   // -N
	keepCase    bool   // -f
	keepRoot    bool   // -o
	own         bool   // -p: do not inherit the permissions of the text
	headers     bool   // -h
	body        bool   // -b
	files       bool   // -F: values are names of files, and their contents in the table
}

// errNotFound ends a -q or -d that found nothing: exit code 1 and no word.
var errNotFound = errors.New("not found")

// failure is an error with the exit code it leads to.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }

func (c *command) main(args []string) int {
	err := c.run(args)
	var f *failure
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errNotFound):
		return 1
	case errors.As(err, &f):
		fmt.Fprintf(c.err, "%s: fatal: %v\n", c.name, err)
		return f.code
	}
	fmt.Fprintf(c.err, "%s: fatal: %v\n", c.name, err)
	return 1
}

func (c *command) warn(format string, args ...any) {
	fmt.Fprintf(c.err, "%s: warning: %s\n", c.name, fmt.Sprintf(format, args...))
}

// letters are those of Postfix's command.
const letters = "Nbc:d:fhimnopq:rsuvwFU"

func (c *command) run(args []string) error {
	if len(args) == 1 && args[0] == "--help" {
		page := Manual()
		page.Name = c.name
		_, err := io.WriteString(c.out, page.Help())
		return err
	}
	opts, names, err := getopt.Parse(args, letters)
	for _, o := range opts {
		switch o.Letter {
		case 'c':
			c.dir = o.Arg
		case 'd':
			c.remove, c.removing = o.Arg, true
		case 'q':
			c.query, c.asked = o.Arg, true
		case 's':
			c.list = true
		case 'i':
			c.incremental = true
		case 'r':
			c.replace = true
		case 'w':
			c.ignore = true
		case 'N':
			c.nul = true
		case 'n':
			c.nul = false
		case 'f':
			c.keepCase = true
		case 'o':
			c.keepRoot = true
		case 'p':
			c.own = true
		case 'h':
			c.headers = true
		case 'b':
			c.body = true
		case 'F':
			c.files = true
		case 'm':
			return &failure{sysexits.Usage, errors.New("-m is not supported: with -b and -h the parts of a message are not told apart")}
		}
	}
	modes := 0
	for _, on := range []bool{c.asked, c.removing, c.list} {
		if on {
			modes++
		}
	}
	switch {
	case err != nil:
		return c.usage("%v", err)
	case modes > 1:
		return c.usage("specify only one of -s -q or -d")
	case c.replace && c.ignore:
		return c.usage("specify only one of -r and -w")
	case len(names) == 0:
		return c.usage("specify a table: [type:]file")
	case (c.headers || c.body) && c.query != "-":
		return c.usage("-h and -b require \"-q -\"")
	case c.incremental && len(names) > 1:
		return c.usage("-i takes one table")
	}
	specs := make([]table.Spec, len(names))
	for i, name := range names {
		if specs[i], err = c.spec(name); err != nil {
			return err
		}
	}
	switch {
	case c.asked:
		return c.lookup(specs)
	case c.list:
		return c.all(specs)
	case c.removing:
		return c.delete(specs)
	}
	for _, s := range specs {
		if !s.Indexed() {
			return &failure{sysexits.Usage, fmt.Errorf("unsupported operation for table type %s: it is read as a text file, and there is nothing to make", s.Type)}
		}
		if err := c.build(s); err != nil {
			return err
		}
	}
	return nil
}

func (c *command) usage(format string, args ...any) error {
	return &failure{sysexits.Usage, fmt.Errorf("%s (%s --help shows the usage)", fmt.Sprintf(format, args...), c.name)}
}

// spec reads "[type:]file". A file needs no full path here.
func (c *command) spec(name string) (table.Spec, error) {
	kind, path, ok := strings.Cut(name, ":")
	if !ok || strings.Contains(kind, "/") {
		kind, path = "hash", name // also when main.cf cannot be read
		if cf, err := config.LoadMain(config.Dir(c.dir)); err == nil {
			kind = cf.String("default_database_type")
		}
	}
	if (table.Spec{Type: kind}).File() && path != "" {
		full, err := filepath.Abs(path)
		if err != nil {
			return table.Spec{}, err
		}
		path = full
	}
	return table.Parse(kind + ":" + path)
}
