package sendmail

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"postrider/lib/config"
	"postrider/lib/header"
	"postrider/lib/mail"
	"postrider/lib/maildrop"
	"postrider/lib/sysexits"
)

var errTooBig = errors.New("message file too big")

// submit reads the message from stdin and gives it to postdrop. A probe (-bv) is no
// message of the caller's.
func (o *options) submit(stdin io.Reader, stdout io.Writer) error {
	who := whoami()
	who.sender = o.sender
	c, err := config.LoadMain(o.dir)
	if err != nil {
		return who.fail(sysexits.Config, "%v", err)
	}
	s := &maildrop.Submission{FullName: o.name(who), Body: o.body, EnvID: o.envID, Ret: o.ret, Notify: o.notify, Trace: o.trace}
	if s.Sender, err = o.from(who); err != nil {
		return err
	}
	if o.verp != nil {
		if s.VERP = *o.verp; s.VERP == "" {
			s.VERP = c.String("default_verp_delimiters")
		}
		switch filter := c.String("verp_delimiter_filter"); {
		case !mail.ValidVERP(s.VERP, filter):
			return who.fail(sysexits.Usage, "-XV requires two characters from %s", filter)
		case !o.senderSet || s.Sender == "":
			return who.fail(sysexits.Usage, "-XV requires a sender that is not null (-f)")
		}
	}
	for _, a := range o.recipients {
		s.Recipients, _ = header.Addresses(s.Recipients, []byte(a), 0)
	}
	if !o.fromHeader && len(s.Recipients) == 0 {
		return who.fail(sysexits.Usage, "Recipient addresses must be specified on the command line or via the -t option")
	}
	if o.trace == mail.TraceVerify {
		if o.fromHeader {
			return who.fail(sysexits.Usage, "-t option cannot be used with -bv")
		}
		stdin = strings.NewReader(probe(s.Recipients))
	}
	if err := o.drop(who, c, s, newInput(stdin, o.ignoreDots)); err != nil || o.trace == 0 {
		return err
	}
	_, err = fmt.Fprintf(stdout, "Mail Delivery Status Report will be mailed to <%s>.\n", s.Sender.External())
	return err
}

// probe is the message whose way is asked for, as Postfix writes it.
func probe(to []mail.Address) string {
	var b strings.Builder
	b.WriteString("Subject: probe\nTo:")
	for i, a := range to {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n " + a.External())
	}
	b.WriteString("\n\n")
	return b.String()
}

// drop reads the message and gives it to postdrop.
func (o *options) drop(who caller, c *config.Config, s *maildrop.Submission, in *input) error {
	t, err := readTop(in, o.fromHeader, c.Int("message_size_limit"))
	switch {
	case errors.Is(err, errTooBig):
		return who.fail(sysexits.Unavailable, "%v", err)
	case err != nil:
		return who.fail(sysexits.DataErr, "error reading input: %v", err)
	}
	if s.Recipients = append(s.Recipients, t.recipients...); len(s.Recipients) == 0 {
		return who.fail(sysexits.Usage, "No recipient addresses found in message header")
	}
	for _, a := range s.Recipients {
		if len(a) > maildrop.MaxString {
			return who.fail(sysexits.DataErr, "recipient address of %d bytes: %.40q...", len(a), a)
		}
	}
	if limit := c.Int("hopcount_limit"); limit > 0 && t.received >= limit {
		return who.fail(sysexits.Unavailable, "too many hops: the message has %d Received: headers", t.received)
	}
	return o.postdrop(who, c, s, t, in)
}

// name is the sender's full name: -F, else $NAME, else what passwd says.
func (o *options) name(who caller) string {
	name := o.fullName
	if name == "" {
		name = os.Getenv("NAME")
	}
	if name == "" {
		name = who.fullName
	}
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, name)
	if len(name) > 256 {
		name = name[:256]
	}
	return name
}

// postdrop runs postdrop and writes the message to it. Only a message that was read
// to its end gets the end record without which postdrop drops everything.
func (o *options) postdrop(who caller, c *config.Config, s *maildrop.Submission, t *top, in *input) error {
	cmd := exec.Command(command(c, "postdrop"), o.args("-r")...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	pipe, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return who.fail(sysexits.Unavailable, "cannot run postdrop: %v", err)
	}
	readErr := copyMessage(pipe, s, t, in)
	pipe.Close()
	waitErr := cmd.Wait()
	if readErr != nil {
		return who.fail(sysexits.DataErr, "error reading input: %v", readErr)
	}
	code, text, ok := report(out.Bytes())
	switch {
	case ok && code == 0 && waitErr == nil:
		return nil
	case ok && code > 0:
		return who.fail(code, "%s", text)
	}
	if line, _, _ := strings.Cut(strings.TrimSpace(complaint.String()), "\n"); line != "" {
		return who.fail(sysexits.TempFail, "postdrop: %s", line)
	}
	return who.fail(sysexits.TempFail, "error writing queue file: postdrop: %v", waitErr)
}

// copyMessage writes the message. An error of the pipe is not returned: postdrop
// says why it went.
func copyMessage(pipe io.Writer, s *maildrop.Submission, t *top, in *input) error {
	b := bufio.NewWriterSize(pipe, 64<<10)
	defer b.Flush()
	w := maildrop.NewWriter(b, s)
	if _, err := w.Write(t.content); err != nil {
		return nil
	}
	buf := make([]byte, 0, 2*maildrop.MaxPiece)
	for {
		var err error
		buf, err = in.next(buf)
		if err != nil && err != io.EOF {
			return err
		}
		if err == io.EOF || len(buf) >= maildrop.MaxPiece {
			if _, werr := w.Write(buf); werr != nil {
				return nil
			}
			buf = buf[:0]
		}
		if err == io.EOF {
			w.Close()
			return nil
		}
	}
}

// report reads postdrop's line: an exit code, a space, a text.
func report(b []byte) (code int, text string, ok bool) {
	line, _, ok := strings.Cut(string(b), "\n")
	word, text, _ := strings.Cut(line, " ")
	code, err := strconv.Atoi(word)
	return code, text, ok && err == nil && code >= 0 && code < 256
}

// args adds the configuration directory to another program's arguments.
func (o *options) args(args ...string) []string {
	if o.dir != config.DefaultDir {
		args = append(args, "-c", o.dir)
	}
	return args
}

// command finds another command: in command_directory when main.cf sets it, else
// beside this program.
func command(c *config.Config, name string) string {
	if _, set := c.Set("command_directory"); !set {
		if self, err := os.Executable(); err == nil {
			return filepath.Join(filepath.Dir(self), name)
		}
	}
	return filepath.Join(c.String("command_directory"), name)
}

// execPostqueue becomes postqueue.
func (o *options) execPostqueue() error {
	c, err := config.LoadMain(o.dir)
	if err != nil {
		return fail(sysexits.Config, "%v", err)
	}
	path := command(c, "postqueue")
	err = unix.Exec(path, append([]string{"postqueue"}, o.args(o.queueArgs...)...), os.Environ())
	return fail(sysexits.Unavailable, "cannot run %s: %v", path, err)
}

// execStart becomes "postrider start".
func (o *options) execStart() error {
	c, err := config.LoadMain(o.dir)
	if err != nil {
		return fail(sysexits.Config, "%v", err)
	}
	path := command(c, "postrider")
	args := append([]string{"postrider"}, o.args()...)
	err = unix.Exec(path, append(args, "start"), os.Environ())
	return fail(sysexits.Unavailable, "cannot run %s: %v", path, err)
}

// execPostalias becomes postalias, for the tables of alias_database.
func (o *options) execPostalias() error {
	c, err := config.LoadMain(o.dir)
	if err != nil {
		return fail(sysexits.Config, "%v", err)
	}
	tables := c.List("alias_database")
	if len(tables) == 0 {
		return nil // there is nothing to rebuild
	}
	path := command(c, "postalias")
	args := append([]string{"postalias"}, o.args()...)
	err = unix.Exec(path, append(append(args, "--"), tables...), os.Environ())
	return fail(sysexits.Unavailable, "cannot run %s: %v", path, err)
}
