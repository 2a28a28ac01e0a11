package postdrop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"postrider/lib/config"
	"postrider/lib/getopt"
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
	e := enter()
	os.Exit(e.main())
}

// env is what run may know and touch.
type env struct {
	args          []string // without the program's name
	mailConfig    string   // MAIL_CONFIG
	stdin         io.Reader
	stdout        io.Writer
	stderr        io.Writer
	uid           int
	setgid        bool // runs with a group that is not the caller's
	defaultConfig string
	onSignal      func(remove string) // this file goes when a signal ends us; "" none
	now           func() time.Time
}

// main runs and reports. With -r, for sendmail, the report is a line on standard
// output: an exit code, a space, and the file's name or what went wrong.
func (e *env) main() int {
	name, report, err := e.run()
	code, text := 0, name
	if err != nil {
		code, text = sysexits.Software, err.Error()
		var f *failure
		if errors.As(err, &f) {
			code = f.code
		}
	}
	if report {
		if _, err := fmt.Fprintf(e.stdout, "%d %s\n", code, text); err == nil {
			return code
		}
	}
	if code != 0 {
		fmt.Fprintf(e.stderr, "postdrop: fatal: %s\n", text)
	}
	return code
}

// run submits what is on standard input and returns the name of the file.
func (e *env) run() (name string, report bool, err error) {
	opts, rest, err := getopt.Parse(e.args, "c:rv")
	dir := e.mailConfig
	for _, o := range opts {
		switch o.Letter {
		case 'c':
			dir = o.Arg
		case 'r':
			report = true
		}
	}
	if err != nil || len(rest) > 0 {
		return "", report, fail(sysexits.Usage, "usage: postdrop [-c config_dir] [-r]")
	}
	c, err := e.config(dir)
	if err != nil {
		return "", report, err
	}
	if err := e.authorize(c); err != nil {
		return "", report, err
	}
	queue := c.String("queue_directory")
	if err := os.Chdir(queue); err != nil || queue == "" {
		return "", report, fail(sysexits.TempFail, "cannot go to queue_directory: %v", err)
	}
	limit := int64(c.Int("message_size_limit"))
	if name, err = e.drop(bufio.NewReaderSize(e.stdin, 64<<10), limit); err == nil {
		trigger()
	}
	return name, report, err
}

// config reads main.cf. A caller of the set-gid program may only choose a
// directory that the default main.cf allows: queue_directory must not be theirs to
// say.
func (e *env) config(dir string) (*config.Config, error) {
	if dir == "" {
		dir = e.defaultConfig
	}
	if e.setgid && e.uid != 0 && dir != e.defaultConfig {
		c, err := config.LoadMain(e.defaultConfig)
		if err != nil {
			return nil, fail(sysexits.Config, "%v", err)
		}
		allowed := false
		for _, d := range c.List("alternate_config_directories") {
			allowed = allowed || d == dir
		}
		if !allowed {
			return nil, fail(sysexits.NoPerm, "%q is not listed in alternate_config_directories of %s/main.cf", dir, e.defaultConfig)
		}
	}
	c, err := config.LoadMain(dir)
	if err != nil {
		return nil, fail(sysexits.Config, "%v", err)
	}
	return c, nil
}
