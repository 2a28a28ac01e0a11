package postsched

import (
	"fmt"
	"os"
	"path/filepath"

	"postrider/lib/config"
)

// checkCommand is postsched check.
type checkCommand struct {
	File string `arg:"" optional:"" help:"Another file than sched.cf of the configuration directory; - is standard input."`
}

// Run says what is wrong; warnings alone are no failure.
func (k *checkCommand) Run(e *env) error {
	c, warnings := config.Load(e.dir)
	if err := warnings.Err(); err != nil {
		return err
	}
	p, problems, err := e.read(k.File, c)
	if err != nil {
		return err
	}
	e.report(problems)
	if problems.Err() != nil {
		return errSaid
	}
	if p == nil {
		fmt.Fprintf(e.stdout, "%s does not exist: everything is as main.cf says\n", filepath.Join(e.dir, "sched.cf"))
	}
	return nil
}

// compileCommand is postsched compile.
type compileCommand struct {
	File string `arg:"" optional:"" help:"As of check."`
}

// Run writes the compiled policy; nothing when there is no sched.cf. master runs it as
// the owner of the mail system: that he may not be able to read main.cf costs the
// comparison with it, no more.
func (k *compileCommand) Run(e *env) error {
	c, warnings := config.Load(e.dir)
	if warnings.Err() != nil {
		c = nil
	}
	p, problems, err := e.read(k.File, c)
	if err != nil {
		return err
	}
	if err := problems.Err(); err != nil {
		return err // alone: what else there is check says
	}
	e.report(problems)
	if p == nil {
		return nil
	}
	if f, ok := e.stdout.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			return fmt.Errorf("the compiled form is binary: send it to a file; master makes its own")
		}
	}
	_, err = e.stdout.Write(p.Encode())
	return err
}
