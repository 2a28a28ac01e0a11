// Package postcat is the postcat command: it shows queued messages by id, like
// Postfix's postcat(1) with -q.
package postcat

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"postrider/lib/config"
	"postrider/lib/operator"
	"postrider/lib/proto"
	"postrider/lib/sysexits"
)

// options are the command line. Without -e, -h and -b everything is shown.
type options struct {
	Queue    bool     `short:"q" help:"The arguments are queue ids (the only form there is)."`
	Envelope bool     `short:"e" help:"Show the envelope."`
	Header   bool     `short:"h" help:"Show the header."`
	Body     bool     `short:"b" help:"Show the body."`
	Config   string   `short:"c" placeholder:"DIR" help:"Configuration directory (or MAIL_CONFIG)."`
	Verbose  []bool   `short:"v" help:"Accepted for compatibility."`
	Help     bool     `help:"Show this help."`
	IDs      []string `arg:"" optional:"" name:"id" help:"Queue ids."`
}

// Main runs the command and ends the process.
func Main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(_ context.Context, args []string, stdout, stderr io.Writer) int {
	fatal := func(code int, format string, a ...any) int {
		fmt.Fprintf(stderr, "postcat: fatal: "+format+"\n", a...)
		return code
	}
	var o options
	k, err := kong.New(&o, kong.Name("postcat"), kong.Description("Show queued messages."),
		kong.Writers(stdout, stderr), kong.NoDefaultHelp())
	if err != nil {
		return fatal(sysexits.Software, "%v", err)
	}
	ctx, err := k.Parse(args)
	if err != nil {
		return fatal(sysexits.Usage, "%v (usage: postcat -q [-e] [-h] [-b] ID...)", err)
	}
	if o.Help {
		ctx.PrintUsage(false)
		return 0
	}
	if !o.Queue || len(o.IDs) == 0 {
		return fatal(sysexits.Usage, "usage: postcat -q [-e] [-h] [-b] ID... (files of the spool hold many messages and are not shown by name)")
	}
	cfg, problems := config.Load(config.Dir(o.Config))
	if err := problems.Err(); err != nil {
		return fatal(sysexits.Config, "%v", err)
	}
	q, _, err := operator.Open(cfg, true)
	if err != nil {
		return fatal(sysexits.Unavailable, "%v", err)
	}
	defer q.Close()

	p := printer{o: &o, w: stdout, seen: map[string]bool{}}
	err = q.Cat(o.IDs, p.head, &p)
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return fatal(operator.ExitCode(err), "%v", err)
	}
	for _, id := range o.IDs {
		if !p.seen[id] {
			return fatal(sysexits.Unavailable, "no message %s in the queue", id)
		}
	}
	return 0
}

// printer writes the parts of messages that were asked for, lines ended by LF.
type printer struct {
	o      *options
	w      io.Writer
	seen   map[string]bool
	id     string
	body   bool   // the empty line has gone by
	tail   []byte // a line that is not complete yet
	marked bool
	err    error
}

// all says whether everything is shown, with marks between the parts.
func (p *printer) all() bool { return !p.o.Envelope && !p.o.Header && !p.o.Body }

func (p *printer) head(it *proto.Item) error {
	if p.id == string(it.ID) { // more recipients
		p.recipients(it)
		return p.err
	}
	if err := p.end(); err != nil {
		return err
	}
	p.id, p.body, p.marked = string(it.ID), false, false
	p.seen[p.id] = true
	if p.all() || p.o.Envelope {
		if p.all() {
			p.printf("*** ENVELOPE RECORDS %s/%s ***\n", it.Queue, it.ID)
		}
		p.printf("message_size: %d\nmessage_arrival_time: %s\n", it.Size, it.Arrival.Local().Format("Mon Jan _2 15:04:05 2006"))
		if !it.Due.IsZero() {
			p.printf("next_attempt_time: %s\n", it.Due.Local().Format("Mon Jan _2 15:04:05 2006"))
		}
		p.printf("sender: %s\n", it.Sender.External())
		p.recipients(it)
	}
	return p.err
}

func (p *printer) recipients(it *proto.Item) {
	if !p.all() && !p.o.Envelope {
		return
	}
	for i := range it.Recipients {
		r := &it.Recipients[i]
		if r.Original != "" && r.Original != r.Address {
			p.printf("original_recipient: %s\n", r.Original.External())
		}
		p.printf("recipient: %s\n", r.Address.External())
	}
}

// Write takes content.
func (p *printer) Write(b []byte) (int, error) {
	if p.all() && !p.marked {
		p.printf("*** MESSAGE CONTENTS %s ***\n", p.id)
		p.marked = true
	}
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			p.tail = append(p.tail, b...)
			break
		}
		line := b[:i]
		if len(p.tail) > 0 {
			p.tail = append(p.tail, line...)
			line = p.tail
		}
		p.line(bytes.TrimSuffix(line, []byte("\r")))
		p.tail = p.tail[:0]
		b = b[i+1:]
	}
	return n, p.err
}

func (p *printer) line(l []byte) {
	if len(l) == 0 && !p.body {
		p.body = true
		if p.all() || p.o.Header && p.o.Body {
			p.printf("\n")
		}
		return
	}
	if p.all() || p.body && p.o.Body || !p.body && p.o.Header {
		p.printf("%s\n", l)
	}
}

// end finishes the message before.
func (p *printer) end() error {
	if len(p.tail) > 0 {
		p.line(p.tail)
		p.tail = p.tail[:0]
	}
	if p.id != "" && p.all() {
		p.printf("*** MESSAGE FILE END %s ***\n", p.id)
	}
	p.id = ""
	return p.err
}

func (p *printer) printf(format string, a ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, a...)
	}
}
