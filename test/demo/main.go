// The demo starts a private mail system and shows it at work: mail comes in by SMTP and
// by sendmail and goes out to three places of which one is healthy, one slow and one
// down; a message is held and released; a report of failure comes back. It ends with
// status 0 only if every message arrived, unchanged.
//
//	make demo
//
// It needs the programs in bin/ and nothing else: no root, no network but loopback. All
// it leaves is below build/demo.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/emersion/go-smtp"
)

func main() {
	dir := flag.String("dir", filepath.Join("build", "demo"), "where the instance is put; what is there is removed")
	bin := flag.String("bin", "bin", "where the programs are")
	flag.Parse()
	syscall.Umask(022) // as root the instance is another user's
	started := time.Now()
	if err := run(*dir, *bin); err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: FAILED: %v\n", err)
		os.Exit(1)
	}
	fmt.Printf("\nEverything arrived as it should, in %.1f seconds.\n", time.Since(started).Seconds())
}

// world is the demo's stage.
type world struct {
	*instance
	healthy, slow, down *sink
	sent                []sent
}

// sent is a message and where it has to arrive.
type sent struct {
	to      string
	content string
}

func run(dir, bin string) error {
	i, err := newInstance(dir, bin)
	if err != nil {
		return err
	}
	w := &world{instance: i}
	for _, x := range []struct {
		s      **sink
		domain string
	}{{&w.healthy, "healthy.example"}, {&w.slow, "slow.example"}, {&w.down, "down.example"}} {
		if *x.s, err = newSink(x.domain); err != nil {
			return err
		}
		defer (*x.s).close()
	}
	w.slow.wait = 2 * time.Second
	w.healthy.refuse = "nobody@healthy.example"
	if err := errors.Join(w.healthy.listen(), w.slow.listen(), i.configure(w.healthy, w.slow, w.down)); err != nil {
		return err
	}

	title("A private mail system, all of it below %s", i.dir)
	if i.as != nil {
		note("Started by root, so the demo runs it as uid %d: as root it wants accounts of its own.", i.as.Uid)
	}
	if err := i.run("", "master", "start"); err != nil {
		return fmt.Errorf("%w (see %s)", err, i.log())
	}
	stopped := false
	stop := func() error {
		stopped = true
		return i.run("", "master", "stop")
	}
	defer func() {
		if !stopped {
			i.showLog(true)
			stop()
		}
	}()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- w.story() }()
	select {
	case err = <-done:
	case s := <-interrupted:
		err = fmt.Errorf("ended by %v", s)
	}
	if err != nil {
		return err
	}

	title("The end")
	if err := stop(); err != nil {
		return err
	}
	if i.command("master", "-c", i.conf(), "status").Run() == nil {
		return errors.New("the mail system says that it is stopped, and runs")
	}
	note("The mail system has stopped.")
	if i.as != nil {
		note("As root, run each of these commands behind: setpriv --reuid=%d --regid=%d --clear-groups", i.as.Uid, i.as.Gid)
	}
	master := filepath.Join(i.bin, "master") + " -c " + i.conf()
	fmt.Printf(`
  The Maildir of %[1]s@%[2]s:  %[3]s
  To start it again:              %[4]s start
  To talk to it by SMTP:          nc %[5]s
  To send from here:              echo Hello | %[6]s -C %[7]s %[1]s@%[2]s
  To see the queue, and to stop:  %[8]s -c %[7]s -p; %[4]s stop
`, person, host, i.maildir(), master, strings.Replace(i.smtp, ":", " ", 1),
		filepath.Join(i.bin, "sendmail"), i.conf(), filepath.Join(i.bin, "postqueue"))
	return nil
}

func title(format string, args ...any) {
	fmt.Printf("\n== "+format+"\n", args...)
}

func note(format string, args ...any) { fmt.Printf("\n  "+format+"\n", args...) }

// send sends a message by SMTP.
func (w *world) send(to, subject string) error {
	from := person + "@" + host
	content := strings.ReplaceAll(fmt.Sprintf(`From: %s
To: %s
Subject: %s
Date: %s
Message-Id: <%d@%s>

A body with a dot at the start of a line,
.
and a long one: %s
`, from, to, subject, time.Now().Format(time.RFC1123Z), time.Now().UnixNano(), host, strings.Repeat("postrider ", 50)), "\n", "\r\n")
	c, err := smtp.Dial(w.smtp)
	if err == nil {
		err = errors.Join(c.SendMail(from, []string{to}, strings.NewReader(content)), c.Quit())
		c.Close()
	}
	if err != nil {
		return fmt.Errorf("SMTP to %s for %s: %w", w.smtp, to, err)
	}
	w.sent = append(w.sent, sent{to, content})
	fmt.Printf("    by SMTP:     %-24s %q\n", to, subject)
	return nil
}

// arrived says whether what was sent to a recipient is there, each once and unchanged.
func (w *world) arrived(to string) bool {
	var contents []string
	for _, s := range []*sink{w.healthy, w.slow, w.down} {
		for _, b := range s.got(to) {
			contents = append(contents, string(b))
		}
	}
	want := 0
	for _, m := range w.sent {
		if m.to != to {
			continue
		}
		want++
		found := 0
		for _, c := range contents {
			if strings.HasSuffix(c, m.content) { // Received: is put before it
				found++
			}
		}
		if found != 1 {
			return false
		}
	}
	return want == len(contents)
}
