package sendmail

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"postrider/lib/sysexits"
)

// failure is an error with the exit code it leads to.
type failure struct {
	code int
	text string
}

func (f *failure) Error() string { return f.text }

func fail(code int, format string, args ...any) error {
	return &failure{code, fmt.Sprintf(format, args...)}
}

// Main is the program.
func Main() {
	e := &env{name: "sendmail", stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	if len(os.Args) > 0 {
		e.name, e.args = filepath.Base(os.Args[0]), os.Args[1:]
	}
	os.Exit(e.main())
}

// env is what a run may know and touch.
type env struct {
	name   string
	args   []string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

func (e *env) main() int {
	err := e.run()
	if err == nil {
		return 0
	}
	code := sysexits.Software
	var f *failure
	if errors.As(err, &f) {
		code = f.code
	}
	fmt.Fprintf(e.stderr, "sendmail: fatal: %v\n", err)
	return code
}

func (e *env) run() error {
	if len(e.args) == 1 && e.args[0] == "--help" {
		page := Manual()
		_, err := io.WriteString(e.stdout, page.Help())
		return err
	}
	o, err := parse(e.name, e.args)
	if err != nil {
		return err
	}
	for _, w := range o.warnings {
		fmt.Fprintf(e.stderr, "sendmail: warning: %s\n", w)
	}
	switch o.mode {
	case modeAliases:
		return o.execPostalias()
	case modeNothing:
		return nil
	case modeQueue:
		return o.execPostqueue()
	case modeServe:
		return o.serve(e.stdin, e.stdout)
	case modeStart:
		return o.execStart()
	}
	return o.submit(e.stdin, e.stdout)
}

// caller is who runs the program.
type caller struct {
	login, fullName string
	sender          string // with -f: as he is named in messages
	uid             int
	known           bool
}

func whoami() caller {
	c := caller{uid: os.Getuid(), login: "unknown"}
	if u, err := user.LookupId(strconv.Itoa(c.uid)); err == nil {
		c.login, c.fullName, c.known = u.Username, u.Name, true
	}
	return c
}

// fail is fail with Postfix's "login(uid): " before the text; with -f it is the sender.
func (c caller) fail(code int, format string, args ...any) error {
	name := c.login
	if c.sender != "" {
		name = c.sender
	}
	return fail(code, "%s(%d): %s", name, c.uid, fmt.Sprintf(format, args...))
}
