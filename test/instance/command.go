package instance

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"postrider/lib/maildrop"
	"postrider/test/ledger"
)

// Result is how a command ended.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Run runs one of the programs, or another by its full path, as the instance's user, with -c and the arguments.
func (i *Instance) Run(program string, args ...string) Result {
	i.t.Helper()
	return i.RunWith("", program, args...)
}

// RunWith is Run with standard input.
func (i *Instance) RunWith(stdin, program string, args ...string) Result {
	i.t.Helper()
	r, err := i.Try(stdin, program, args...)
	if err != nil {
		i.t.Fatalf("%s: %v", program, err)
	}
	return r
}

// Try is RunWith for any goroutine: an error says that the program could not be run.
func (i *Instance) Try(stdin, program string, args ...string) (Result, error) {
	return i.try(i.cred, stdin, program, args...)
}

// RunAs is RunWith as another user.
func (i *Instance) RunAs(cred *syscall.Credential, stdin, program string, args ...string) Result {
	i.t.Helper()
	r, err := i.try(cred, stdin, program, args...)
	if err != nil {
		i.t.Fatalf("%s: %v", program, err)
	}
	return r
}

func (i *Instance) try(cred *syscall.Credential, stdin, program string, args ...string) (Result, error) {
	if !filepath.IsAbs(program) {
		program = filepath.Join(i.Bin, program)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"MAIL_CONFIG=" + i.Conf, "PATH=" + i.Bin + ":/usr/bin:/bin", "TZ=UTC"}
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	cmd.WaitDelay = Patience
	if i.Wrap != nil {
		i.Wrap(cmd)
	}
	err := cmd.Start()
	if err == nil {
		kill := time.AfterFunc(Patience, func() { cmd.Process.Kill() })
		err = cmd.Wait()
		kill.Stop()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Result{}, err
	}
	return Result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}, nil
}

// Must is Run for a command that has to succeed; it returns standard output.
func (i *Instance) Must(program string, args ...string) string {
	i.t.Helper()
	r := i.Run(program, args...)
	if r.Code != 0 {
		i.t.Fatalf("%s %s: exit code %d: %s", program, strings.Join(args, " "), r.Code, r.Stderr)
	}
	return r.Stdout
}

// Queued is a message in the queue, as postqueue -j says.
type Queued struct {
	Queue      string `json:"queue_name"`
	ID         string `json:"queue_id"`
	Arrival    int64  `json:"arrival_time"`
	Size       int64  `json:"message_size"`
	Sender     string `json:"sender"`
	Recipients []struct {
		Address string `json:"address"`
		Reason  string `json:"delay_reason"`
	} `json:"recipients"`
}

// List is the queue.
func (i *Instance) List() []Queued {
	i.t.Helper()
	var all []Queued
	for l := range strings.Lines(i.Must("postqueue", "-j")) {
		var q Queued
		if err := json.Unmarshal([]byte(l), &q); err != nil {
			i.t.Fatalf("postqueue -j: %v: %s", err, l)
		}
		all = append(all, q)
	}
	return all
}

// Entry returns the message with this queue id, or an empty one.
func (i *Instance) Entry(id string) Queued {
	i.t.Helper()
	for _, q := range i.List() {
		if q.ID == id {
			return q
		}
	}
	return Queued{}
}

// AwaitQueue waits until the message is in the queue of that name; "" is none.
func (i *Instance) AwaitQueue(id, queue string) {
	i.t.Helper()
	last := "?"
	defer func() {
		if i.t.Failed() {
			i.t.Logf("%s is in queue %q", id, last)
		}
	}()
	i.Await(id+" in queue \""+queue+"\"", func() bool { last = i.Entry(id).Queue; return last == queue })
}

// Drained says whether the queue and maildrop are empty. What a submission left that was
// cut short stays in maildrop/ for a day.
func (i *Instance) Drained() bool {
	i.t.Helper()
	for name := range i.Files(maildrop.Dir) {
		if !maildrop.Temporary(filepath.Base(name)) {
			return false
		}
	}
	return len(i.List()) == 0
}

// Account tells the ledger what is in the queue, and what is in the Maildirs; it empties
// them, so that what comes later is counted for itself.
func (i *Instance) Account(l *ledger.Ledger) {
	i.t.Helper()
	for _, q := range i.List() {
		id, sum, err := ledger.Identify([]byte(i.Must("postcat", "-q", "-h", "-b", q.ID)))
		if err != nil {
			continue // a bounce
		}
		for _, r := range q.Recipients {
			l.Queued(id, r.Address, sum)
		}
	}
	dirs, _ := os.ReadDir(i.Mail)
	for _, d := range dirs {
		for _, f := range i.mails(d.Name()) {
			c, err := os.ReadFile(f)
			if err == nil {
				err = os.Remove(f)
			}
			if err != nil {
				i.t.Fatal(err)
			}
			if id, failed, err := ledger.Reported(c); err == nil && bytes.Contains(c, []byte("message/delivery-status")) {
				l.Bounced(id, failed...)
			} else {
				l.Found(d.Name()+"@"+Domain, c)
			}
		}
	}
}

// mails are the files of a name's Maildir that are delivered.
func (i *Instance) mails(name string) (files []string) {
	for _, sub := range []string{"new", "cur"} {
		found, _ := filepath.Glob(filepath.Join(i.Mail, name, sub, "*"))
		files = append(files, found...)
	}
	return files
}

// Maildir returns the messages of a name's Maildir.
func (i *Instance) Maildir(name string) (contents [][]byte) {
	i.t.Helper()
	for _, f := range i.mails(name) {
		b, err := os.ReadFile(f)
		if err != nil {
			i.t.Fatal(err)
		}
		contents = append(contents, b)
	}
	return contents
}

func (i *Instance) logFile() string { return i.Dir + "/maillog" }

// Log is the log so far.
func (i *Instance) Log() string {
	b, _ := os.ReadFile(i.logFile())
	return string(b)
}

// Stderr is what master and the daemons wrote to standard error so far.
func (i *Instance) Stderr() string {
	b, _ := os.ReadFile(i.Dir + "/stderr")
	return string(b)
}

// Grep returns the lines of the log that match, without line ends.
func (i *Instance) Grep(pattern string) (found []string) {
	re := regexp.MustCompile(pattern)
	for l := range strings.Lines(i.Log()) {
		if l = strings.TrimSuffix(l, "\n"); re.MatchString(l) {
			found = append(found, l)
		}
	}
	return found
}

// AwaitLog waits for a line of the log and returns the first.
func (i *Instance) AwaitLog(pattern string) string {
	i.t.Helper()
	var found []string
	i.Await("a log line "+pattern, func() bool { found = i.Grep(pattern); return len(found) > 0 })
	return found[0]
}
