package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The names of the demo's mail system. None exists on the Internet (RFC 2606).
const (
	host   = "demo.example"
	person = "alice" // who has a mailbox
)

// instance is a private mail system: configuration, queue, log and mail below one
// directory, programs from bin.
type instance struct {
	dir, bin string // as printed and used: relative to the working directory if they can be
	smtp     string // host:port of its SMTP server
	as       *syscall.Credential
	logRead  int64 // how much of the log was shown
}

// newInstance finds a directory for it. As root it runs as nobody: a mail system that
// root starts insists on its accounts, and a demo is not to make any.
func newInstance(dir, bin string) (*instance, error) {
	i := &instance{dir: dir, bin: bin}
	if os.Geteuid() == 0 {
		uid, gid := uint32(65534), uint32(65534)
		if u, err := user.Lookup("nobody"); err == nil {
			n, _ := strconv.ParseUint(u.Uid, 10, 32)
			g, _ := strconv.ParseUint(u.Gid, 10, 32)
			uid, gid = uint32(n), uint32(g)
		}
		i.as = &syscall.Credential{Uid: uid, Gid: gid}
		if !public(bin) || !public(filepath.Dir(dir)) {
			tmp, err := os.MkdirTemp("", "postrider-demo-")
			if err != nil {
				return nil, err
			}
			if err := os.Chmod(tmp, 0755); err != nil {
				return nil, err
			}
			i.dir, i.bin = filepath.Join(tmp, "state"), filepath.Join(tmp, "bin")
			if err := copyPrograms(i.bin, bin); err != nil {
				return nil, err
			}
		}
	}
	if _, err := os.Stat(filepath.Join(i.bin, "master")); err != nil {
		return nil, fmt.Errorf("no programs in %s: run \"make\" first", i.bin)
	}
	if running := i.command("master", "-c", i.conf(), "status"); running.Run() == nil {
		return nil, fmt.Errorf("the instance of an earlier demo runs: stop it with: %s -c %s stop", filepath.Join(i.bin, "master"), i.conf())
	}
	if err := os.RemoveAll(i.dir); err != nil {
		return nil, err
	}
	var err error
	i.smtp, err = freeAddress("127.0.0.1:2525")
	return i, err
}

// copyPrograms copies a directory to where every user may run what is in it.
func copyPrograms(to, from string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return filepath.WalkDir(to, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Chmod(path, 0755)
		}
		return err
	})
}

// public says whether every user may pass through all directories down to path.
func public(path string) bool {
	path, err := filepath.Abs(path)
	for ; err == nil; path = filepath.Dir(path) {
		if st, err := os.Stat(path); err == nil && st.Mode().Perm()&1 == 0 {
			return false
		}
		if path == "/" {
			return true
		}
	}
	return false
}

func (i *instance) conf() string    { return filepath.Join(i.dir, "etc") }
func (i *instance) log() string     { return filepath.Join(i.dir, "maillog") }
func (i *instance) maildir() string { return filepath.Join(i.dir, "mail", person) }

// configure writes main.cf and master.cf.
func (i *instance) configure(sinks ...*sink) error {
	dir, err := filepath.Abs(i.dir)
	if err != nil {
		return err
	}
	bin, err := filepath.Abs(i.bin)
	if err != nil {
		return err
	}
	var transports []string
	for _, s := range sinks {
		transports = append(transports, fmt.Sprintf("{ %s = smtp:%s }", s.domain, s.nextHop()))
	}
	main := fmt.Sprintf(`# Made by "make demo".
myhostname = %[1]s
mydestination = %[1]s
local_recipient_maps = inline:{ { %[2]s = here } { postmaster = here } }
alias_maps =
mynetworks = 127.0.0.0/8
mail_spool_directory = %[3]s/mail
queue_directory = %[3]s/queue
data_directory = %[3]s/data
maillog_file = %[3]s/maillog
daemon_directory = %[4]s
command_directory = %[4]s
# Three places in the world:
transport_maps = inline:{
  %[5]s }
`, host, person, dir, bin, strings.Join(transports, "\n  "))
	master := fmt.Sprintf(`# Made by "make demo".
%-15s inet n - n - - smtpd
cleanup         unix n - n - 0 cleanup
qmgr            unix n - n 300 1 qmgr
bounce          unix - - n - 0 bounce
smtp            unix - - n - - smtp
local           unix - n n - - local
`, i.smtp)
	for _, d := range []string{i.dir, i.conf(), filepath.Join(i.dir, "mail")} {
		if err := os.MkdirAll(d, 0755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(i.conf(), "main.cf"), []byte(main), 0644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(i.conf(), "master.cf"), []byte(master), 0644); err != nil {
		return err
	}
	if i.as == nil {
		return nil
	}
	return filepath.WalkDir(i.dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, int(i.as.Uid), int(i.as.Gid))
		}
		return err
	})
}

func (i *instance) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(i.bin, program), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: i.as}
	return cmd
}

// run runs a program as an operator would, showing the command and what it says.
func (i *instance) run(stdin, program string, args ...string) error {
	option := "-c"
	if program == "sendmail" {
		option = "-C"
	}
	cmd := i.command(program, append([]string{option, i.conf()}, args...)...)
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	// A file, not a pipe: the daemons that "master start" leaves behind would keep
	// a pipe open, and Wait would wait for them.
	out, err := os.CreateTemp("", "postrider-demo-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	fmt.Printf("\n  $ %s\n", strings.Join(cmd.Args, " "))
	err = cmd.Run()
	b, _ := os.ReadFile(out.Name())
	for line := range strings.Lines(string(b)) {
		fmt.Print("    ", line)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	return nil
}

// queued is a message in the queue, as postqueue -j tells.
type queued struct {
	Queue      string `json:"queue_name"`
	ID         string `json:"queue_id"`
	Recipients []struct {
		Address string `json:"address"`
		Reason  string `json:"delay_reason"`
	} `json:"recipients"`
}

// queue lists the queue.
func (i *instance) queue() ([]queued, error) {
	var stderr bytes.Buffer
	cmd := i.command("postqueue", "-c", i.conf(), "-j")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("postqueue -j: %w: %s", err, stderr.String())
	}
	var all []queued
	for line := range strings.Lines(string(out)) {
		var q queued
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			return nil, fmt.Errorf("postqueue -j: %w: %s", err, line)
		}
		all = append(all, q)
	}
	return all, nil
}

// in returns the ids of the messages for a recipient in a queue ("deferred").
func (i *instance) in(queue, recipient string) (ids []string) {
	all, err := i.queue()
	if err != nil {
		return nil
	}
	for _, q := range all {
		for _, r := range q.Recipients {
			if q.Queue == queue && r.Address == recipient {
				ids = append(ids, q.ID)
			}
		}
	}
	return ids
}

// showLog prints the lines the log has gained that tell of deliveries; all of them
// after a failure.
func (i *instance) showLog(all bool) {
	f, err := os.Open(i.log())
	if err != nil {
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return
	}
	b := make([]byte, st.Size()-i.logRead)
	n, _ := f.ReadAt(b, i.logRead)
	end := bytes.LastIndexByte(b[:n], '\n') + 1
	i.logRead += int64(end)
	fmt.Printf("\n  the log, %s:\n", i.log())
	for line := range strings.Lines(string(b[:end])) {
		if all || strings.Contains(line, " status=") || strings.Contains(line, "non-delivery") {
			fmt.Print("    ", line)
		}
	}
}

// mailbox returns the messages in the Maildir.
func (i *instance) mailbox() (mails []string) {
	files, _ := filepath.Glob(filepath.Join(i.maildir(), "new", "*"))
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil {
			mails = append(mails, string(b))
		}
	}
	return mails
}

var errPatience = errors.New("did not happen within 10 seconds")

// await waits until something holds.
func await(what string, holds func() bool) error {
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%s: %w", what, errPatience)
		}
	}
	return nil
}
