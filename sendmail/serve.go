package sendmail

import (
	"bufio"
	"errors"
	"io"
	"net/textproto"
	"strconv"
	"strings"

	"postrider/lib/config"
	"postrider/lib/header"
	"postrider/lib/mail"
	"postrider/lib/maildrop"
	"postrider/lib/sysexits"
)

// serve speaks SMTP on standard input and output (-bs), for programs that do so with a
// sendmail. Each message goes to postdrop like any other of the caller's; who may use
// this system as a relay is no question here. Lines may end in LF alone, as programs
// write them to a command. It works while the mail system is down.
func (o *options) serve(stdin io.Reader, stdout io.Writer) error {
	who := whoami()
	c, err := config.LoadMain(o.dir)
	if err != nil {
		return who.fail(sysexits.Config, "%v", err)
	}
	d := &dialogue{o: o, who: who, c: c, r: textproto.NewReader(bufio.NewReader(&crlf{r: bufio.NewReader(stdin)})), w: bufio.NewWriter(stdout)}
	return d.run()
}

// dialogue is a session of -bs.
type dialogue struct {
	o   *options
	who caller
	c   *config.Config
	r   *textproto.Reader
	w   *bufio.Writer

	s *maildrop.Submission // since MAIL
}

// run ends without an error when the client says QUIT or goes away.
func (d *dialogue) run() error {
	d.say("220 " + d.c.String("myhostname") + " ESMTP " + d.c.String("mail_name"))
	for {
		line, err := d.r.ReadLine()
		if err != nil {
			return nil
		}
		word, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		word = strings.ToUpper(word)
		d.say(d.answer(word, strings.TrimSpace(arg)))
		if word == "QUIT" {
			return nil
		}
	}
}

// say sends replies when the client has nothing more to say (RFC 2920).
func (d *dialogue) say(reply string) {
	d.w.WriteString(strings.ReplaceAll(reply, "\n", "\r\n") + "\r\n")
	if d.r.R.Buffered() == 0 || strings.HasPrefix(reply, "354") {
		d.w.Flush()
	}
}

func (d *dialogue) answer(word, arg string) string {
	host := d.c.String("myhostname")
	switch word {
	case "HELO":
		d.s = nil
		return "250 " + host
	case "EHLO":
		d.s = nil
		return "250-" + host + "\n250-PIPELINING\n250-SIZE " + strconv.Itoa(d.c.Int("message_size_limit")) +
			"\n250-ENHANCEDSTATUSCODES\n250 8BITMIME"
	case "MAIL":
		return d.mail(arg)
	case "RCPT":
		return d.rcpt(arg)
	case "DATA":
		return d.data()
	case "RSET":
		d.s = nil
		return "250 2.0.0 Ok"
	case "NOOP":
		return "250 2.0.0 Ok"
	case "VRFY":
		return "252 2.0.0 " + arg
	case "QUIT":
		return "221 2.0.0 Bye"
	}
	return "500 5.5.2 Error: command not recognized"
}

func (d *dialogue) mail(arg string) string {
	path, params, ok := cutPath(arg, "FROM:")
	if !ok {
		return "501 5.5.4 Syntax: MAIL FROM:<address>"
	}
	if d.s != nil {
		return "503 5.5.1 Error: nested MAIL command"
	}
	s := &maildrop.Submission{FullName: d.o.name(d.who)}
	if path != "" {
		if s.Sender, ok = address(path); !ok {
			return "501 5.1.7 Bad sender address syntax"
		}
	}
	for _, p := range strings.Fields(strings.ToUpper(params)) {
		switch {
		case p == "BODY=8BITMIME":
			s.Body = mail.Body8Bit
		case p == "BODY=7BIT":
			s.Body = mail.Body7Bit
		case strings.HasPrefix(p, "SIZE="): // postdrop counts
		default:
			return "555 5.5.4 Unsupported option: " + p
		}
	}
	d.s = s
	return "250 2.1.0 Ok"
}

func (d *dialogue) rcpt(arg string) string {
	if d.s == nil {
		return "503 5.5.1 Error: need MAIL command"
	}
	path, params, ok := cutPath(arg, "TO:")
	if !ok {
		return "501 5.5.4 Syntax: RCPT TO:<address>"
	}
	if params != "" {
		return "555 5.5.4 Unsupported option: " + params
	}
	a, ok := address(path)
	if !ok || len(a) > maildrop.MaxString {
		return "501 5.1.3 Bad recipient address syntax"
	}
	d.s.Recipients = append(d.s.Recipients, a)
	return "250 2.1.5 Ok"
}

// data submits the message. One that is cut off is not submitted.
func (d *dialogue) data() string {
	if d.s == nil || len(d.s.Recipients) == 0 {
		return "503 5.5.1 Error: need RCPT command"
	}
	d.say("354 End data with <CR><LF>.<CR><LF>")
	body := d.r.DotReader()
	err := d.o.drop(d.who, d.c, d.s, newInput(body, true))
	d.s = nil
	io.Copy(io.Discard, body)
	var f *failure
	switch {
	case err == nil:
		return "250 2.0.0 Ok: queued"
	case errors.As(err, &f) && (f.code == sysexits.NoPerm || f.code == sysexits.Unavailable):
		return "554 5.7.0 Error: " + err.Error()
	}
	return "451 4.3.0 Error: " + err.Error()
}

// cutPath takes "FROM:<path> parameters" apart.
func cutPath(arg, keyword string) (path, params string, ok bool) {
	if len(arg) < len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) {
		return "", "", false
	}
	arg = strings.TrimSpace(arg[len(keyword):])
	end := strings.LastIndexByte(arg, '>')
	if arg == "" || arg[0] != '<' || end < 0 {
		path, params, _ = strings.Cut(arg, " ") // as many write it
		return path, strings.TrimSpace(params), path != ""
	}
	return arg[1:end], strings.TrimSpace(arg[end+1:]), true
}

// address reads one address.
func address(s string) (mail.Address, bool) {
	list, err := header.Addresses(nil, []byte(s), 0)
	if err != nil || len(list) != 1 {
		return "", false
	}
	return list[0], true
}
