package postsuper

import (
	"fmt"
	"io"
	"path/filepath"

	"postrider/lib/config"
	"postrider/lib/extract"
	"postrider/lib/progress"
	"postrider/lib/sysexits"
)

// exIncomplete is the exit code when something could not be used; what could
// be was.
const exIncomplete = 1

// extract is -x: every unfinished message goes into the new folder o.Extract, from
// the named spool or that of the configuration. It stays root, if it is: it must
// read files of several owners and writes nothing but the folder.
func (o *options) extract(stderr io.Writer, say func(string, ...any)) (int, error) {
	dir, code, err := o.spool()
	if err != nil {
		return code, err
	}
	wait := progress.Start(stderr, "postsuper: extracting")
	r, err := extract.Run(dir, o.Extract, wait.Add, func(line string) { wait.Above(func() { say("warning: %s", line) }) })
	wait.Stop()
	if err != nil {
		return sysexits.Unavailable, err
	}
	say("Extracted: %d message%s", r.Messages, plural(uint64(r.Messages)))
	if r.Corrupt > 0 {
		say("Extracted: %d file%s of corrupt/, to %s", r.Corrupt, plural(uint64(r.Corrupt)), filepath.Join(o.Extract, "corrupt"))
	}
	if r.Skipped > 0 {
		say("warning: %d part%s of the queue could not be used", r.Skipped, plural(uint64(r.Skipped)))
		return exIncomplete, nil
	}
	return 0, nil
}

// check is -s: it reads every file of the spool and says what is wrong.
func (o *options) check(stderr io.Writer, say func(string, ...any)) (int, error) {
	queues := o.Queues
	if o.verbs() {
		o.Queues = nil // they are for the verbs
	}
	dir, code, err := o.spool()
	o.Queues = queues
	if err != nil {
		return code, err
	}
	wait := progress.Start(stderr, "postsuper: reading the queue")
	found, err := extract.Check(dir)
	wait.Stop()
	if err != nil {
		return sysexits.Unavailable, err
	}
	for _, line := range found {
		say("warning: %s", line)
	}
	if len(found) > 0 {
		say("warning: %d thing%s wrong in %s", len(found), plural(uint64(len(found))), dir)
		return exIncomplete, nil
	}
	return 0, nil
}

// spool is the queue directory that the command line names, or else main.cf. An
// error comes with an exit code.
func (o *options) spool() (dir string, code int, err error) {
	switch len(o.Queues) {
	case 1:
		return o.Queues[0], 0, nil
	case 0:
	default:
		return "", sysexits.Usage, fmt.Errorf("more than one queue directory is named: %q", o.Queues)
	}
	cfg, problems := config.Load(config.Dir(o.Config))
	if err := problems.Err(); err != nil {
		return "", sysexits.Config, err
	}
	return cfg.String("queue_directory"), 0, nil
}
