// Package command is smtp-ledger, with which an operator tries an installation, of
// Postrider or of any other mail system: it is the source and the destination of mail,
// and keeps the books (test/ledger).
//
// It sends messages by SMTP to recipients in a domain that the system must route back to
// it, and listens as that next hop. Meanwhile anything may be done to the system: killed,
// restarted, its plug pulled. A session that is lost is dialled again. At the end it waits
// for what is still under way, looks into the queue for the rest, and judges:
//
//	main.go   options, and the order of things
//	client.go the session of the source: go-smtp's client, TLS, login
//	run.go    the source, the sink, the wait
//	queue.go  what postqueue and postcat say is in the queue
//	report.go the page at the end
//
// Exit codes: 0 when nothing is lost, unexpected, mixed or truncated, 1 when something
// is, and those of sysexits.h when nothing could be tried.
package command

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"postrider/lib/sysexits"
)

// options are the command line; -l, -m, -r, -s, -f and -t are those of smtp-source(1).
type options struct {
	Messages   int           `short:"m" default:"1000" help:"How many messages to send (1000)."`
	Sessions   int           `short:"s" default:"10" help:"SMTP sessions at once (10)."`
	Recipients int           `short:"r" default:"1" help:"Recipients of each message (1)."`
	Length     int           `short:"l" default:"4000" help:"Bytes of each message, about (4000)."`
	Rate       float64       `placeholder:"N" help:"At most this many messages a second."`
	TLS        string        `name:"tls" enum:"none,starttls,smtps" default:"none" help:"none, starttls or smtps (none)."`
	Insecure   bool          `help:"Take any certificate."`
	Login      string        `placeholder:"FILE" help:"Log in with the line user:password of this file."`
	Domain     string        `default:"ledger.test" help:"Domain of senders and recipients (ledger.test)."`
	Listen     string        `default:"127.0.0.1:2527" help:"Where to receive the mail again (127.0.0.1:2527)."`
	Config     string        `short:"c" placeholder:"DIR" help:"Configuration directory for postqueue and postcat."`
	Flush      bool          `help:"Let postqueue -f try deferred mail anew while waiting."`
	Wait       time.Duration `default:"10m" help:"How long to wait for the rest at the end (10m)."`
	Yes        bool          `short:"y" help:"Do not wait for the RETURN key: the route is set."`
	Server     string        `arg:"" help:"The system to try: host:port."`
}

// Main runs the command and ends the process.
func Main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	fatal := func(code int, format string, a ...any) int {
		fmt.Fprintf(stderr, "smtp-ledger: fatal: "+format+"\n", a...)
		return code
	}
	var o options
	ended := -1
	k, err := kong.New(&o, kong.Name("smtp-ledger"), kong.Writers(stdout, stderr), kong.Exit(func(code int) { ended = code }),
		kong.Description("Send mail through a mail system, receive it again, and say whether any was lost."))
	if err != nil {
		return fatal(sysexits.Software, "%v", err)
	}
	if _, err = k.Parse(args); ended >= 0 {
		return ended
	}
	if err == nil && (o.Messages < 1 || o.Sessions < 1 || o.Recipients < 1 || o.Length < 1 || o.Rate < 0) {
		err = fmt.Errorf("-m, -s, -r and -l are at least 1")
	}
	if err != nil {
		return fatal(sysexits.Usage, "%v (usage: smtp-ledger [-m messages] [-s sessions] [-r recipients] [-l length] host:port; --help)", err)
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return fatal(sysexits.Usage, "--listen: %v", err)
	}
	if _, _, err := net.SplitHostPort(o.Server); err != nil {
		return fatal(sysexits.Usage, "%v", err)
	}
	t, err := newTrial(&o, stderr)
	if err != nil {
		return fatal(sysexits.OSErr, "%v", err)
	}
	defer t.sink.Close()
	if t.dial, err = dialer(&o, t.refused); err != nil {
		return fatal(sysexits.Usage, "--login: %v", err)
	}
	fmt.Fprintf(stdout, `The system at %s must let this machine relay and must bring mail for %s here. In main.cf:

    transport_maps = inline:{ {%s=smtp:[%s]:%s} }

(or, in a table that transport_maps names: %s smtp:[%s]:%s), and reload.
`, o.Server, o.Domain, o.Domain, host, port, o.Domain, host, port)
	if !o.Yes {
		fmt.Fprint(stdout, "Then press RETURN. ")
		if n, err := stdin.Read(make([]byte, 1)); n == 0 {
			return fatal(sysexits.Usage, "nobody pressed RETURN (%v); -y does not wait for it", err)
		}
	}
	if err := t.knock(); err != nil {
		return fatal(sysexits.Unavailable, "%s: %v", o.Server, err)
	}
	t.send(ctx)
	t.wait(ctx)
	err = t.inspect()
	v := t.ledger.Judge()
	report(stdout, t, v)
	switch {
	case v.Err() != nil && err != nil:
		return fatal(1, "%v; and the queue could not be read: %v", v.Err(), err)
	case v.Err() != nil:
		return fatal(1, "%v", v.Err())
	case v.Acked == 0:
		return fatal(sysexits.Unavailable, "%s acknowledged nothing", o.Server)
	}
	return 0
}
