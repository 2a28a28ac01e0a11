package master

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/config"
	"postrider/lib/policy"
	"postrider/lib/proto"
	"postrider/lib/table"
)

// compiled is sched.cf as the daemons get it. The zero value is a system without one.
type compiled struct {
	policy   *policy.Policy // nil: no sched.cf
	data     []byte
	warnings []string
}

// compileTime is how long the compilation may take: it is a matter of milliseconds.
const compileTime = 30 * time.Second

// policyReaders are the daemons that get the policy: qmgr decides by it, cleanup captures
// the header fields that it names, smtpd asks for its quotas.
var policyReaders = map[string]bool{"qmgr": true, "cleanup": true, "smtpd": true}

// compile has postsched compile sched.cf. That runs as the owner of the mail system, whom
// master hands the text: whatever is wrong with the language's reader, it is not root's.
// The error has a line for each problem.
func (e environment) compile(c *config.Config, a *accounts) (compiled, error) {
	f, err := os.Open(filepath.Join(e.dir, "sched.cf"))
	if errors.Is(err, fs.ErrNotExist) {
		return compiled{}, nil
	}
	if err != nil {
		return compiled{}, err
	}
	defer f.Close()
	program := commandPath(c, "postsched")
	ctx, cancel := context.WithTimeout(context.Background(), compileTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-c", e.dir, "compile", "-")
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env, cmd.Dir = f, &out, &said, environ(), "/"
	if a != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.owner.uid, Gid: a.owner.gid}}
		err = confined(0, cmd.Start)
	} else {
		err = cmd.Start()
	}
	if err != nil {
		return compiled{}, fmt.Errorf("sched.cf cannot be compiled: %s: %w (is postsched installed?)", program, unwrapped(err))
	}
	err = cmd.Wait()
	k := compiled{data: out.Bytes()}
	for line := range strings.Lines(said.String()) {
		line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), "postsched: "), "fatal: ")
		line = strings.TrimPrefix(line, e.dir+"/")
		if err != nil {
			k.warnings = append(k.warnings, line)
		} else {
			k.warnings = append(k.warnings, strings.Replace(line, " warning:", "", 1))
		}
	}
	if err != nil {
		text := strings.Join(k.warnings, "\n")
		if text == "" {
			text = fmt.Sprintf("sched.cf cannot be compiled: %v", err)
		}
		return compiled{}, errors.New(text)
	}
	if k.policy, err = policy.Decode(k.data); err != nil {
		return compiled{}, fmt.Errorf("sched.cf: %w: is %s of this version?", err, program)
	}
	return k, nil
}

// sayCompile says on standard error what is wrong with sched.cf.
func (e environment) sayCompile(c *config.Config, a *accounts) error {
	_, err := e.compile(c, a)
	if err != nil {
		sayLines(err)
		err = errSaid
	}
	return err
}

// sayLines says each line of an error.
func sayLines(err error) {
	for line := range strings.Lines(err.Error()) {
		say("fatal: %s", strings.TrimRight(line, "\n"))
	}
}

// commandPath is where an operator's command is: next to master itself, as in a checkout,
// or in command_directory.
func commandPath(c *config.Config, name string) string {
	path := filepath.Join(daemonDirectory(c), name)
	if unix.Access(path, unix.X_OK) == nil {
		return path
	}
	return filepath.Join(c.String("command_directory"), name)
}

// withPolicy adds the tables that the policy asks to those that qmgr gets, and those that
// its quotas ask to those of smtpd.
func (p *plan) withPolicy(k compiled) {
	p.policy = k
	if k.policy == nil {
		return
	}
	p.noteTables(k.policy.Tables)
	var files, databases []string
	for _, s := range table.Leaves(k.policy.Tables) {
		if s.Database() {
			databases = union(databases, s.Files())
		} else {
			files = union(files, s.Files())
		}
	}
	p.tables["qmgr"] = union(p.tables["qmgr"], files)
	p.tables["smtpd"] = union(p.tables["smtpd"], table.Files(k.policy.QuotaTables()))
	if databases == nil {
		return
	}
	p.tables[databaseProgram.name] = databases
	p.instances = append(p.instances, instance{program: &databaseProgram, of: 1})
}

// givePolicy hands a daemon the compiled policy, an empty file when there is none, as a
// part of the round that ends with Go.
func (s *supervisor) givePolicy(c *child) {
	if !policyReaders[c.name] {
		return
	}
	f, err := memoryFile(proto.PolicyFile, bytes.NewReader(s.plan.policy.data), identity{})
	if err != nil {
		s.log.Errorf("sched.cf: %v", err)
		return
	}
	defer f.Close()
	s.give(c, proto.GrantFile, proto.PolicyFile, f)
}

// sayPolicy logs what a reload has changed in the policy.
func (s *supervisor) sayPolicy(old compiled) {
	now := s.plan.policy
	for _, w := range now.warnings {
		s.log.Warnf("%s", w)
	}
	if bytes.Equal(old.data, now.data) {
		return
	}
	what := policy.Diff(old.policy, now.policy)
	switch {
	case now.policy == nil:
		s.log.Infof("sched.cf is gone: everything is as main.cf says")
	case len(what) == 0:
		s.log.Infof("sched.cf: nothing changed but its places")
	default:
		s.log.Infof("sched.cf: %s", strings.Join(what, ", "))
	}
}
