// Package smtp is the daemon that sends mail: it takes deliveries from qmgr, finds
// the servers of the next hop, and speaks SMTP with them (RFC 5321).
//
//	main.go      what master handed over, reload, stop
//	client.go    what all deliveries share
//	delivery.go  one delivery from server to server
//	transact.go  the dialogue of one message
//	content.go   the message on the wire
//	session.go   one connection and its greetings
//	cache.go     sessions kept for the next message
//	live.go      every session there is, to end its wait at a stop
//	target.go    from a next hop to addresses
//	settings.go  the parameters of a service
//	lookup.go    names of next hops, looked up before their deliveries
//	names.go     names of smtpd's clients, which smtpd cannot look up
//	policy.go    how much TLS a next hop must have
//	starttls.go  STARTTLS, and whom to trust
//	login.go     AUTH
//	texts.go     Postfix's words for what went wrong
//
// It reaches the network and the name servers. It opens no file: content comes with
// the delivery, from a descriptor or in the request itself.
package smtp

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"runtime/debug"

	"postrider/lib/agent"
	"postrider/lib/config"
	"postrider/lib/daemon"
	"postrider/lib/dns"
	"postrider/lib/lockdown"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/sysexits"
	"postrider/lib/transcript"
)

// Main is the program.
func Main() { daemon.Run("smtp", serve) }

// MainLMTP is the program under the name lmtp: for the lines of master.cf that run that, in
// a process of its own, since it may connect to Unix sockets and what speaks with the world
// may not.
func MainLMTP() { daemon.Run("lmtp", serve) }

func serve(ctx context.Context, d *daemon.Daemon) error {
	debug.SetGCPercent(400) // a small heap that would be collected all the time
	c := &client{ids: mail.IDs{Number: uint64(os.Getpid())}}
	c.notices = transcript.Sender{Submit: &c.submit, IDs: &c.ids}
	c.submit.Lost = func(err error) { d.Log.Warnf("lost connection with cleanup: %v", err) }
	c.env.Store(newEnvironment(d))
	a := agent.New(agent.Options{
		End:     func() { os.Exit(sysexits.TempFail) },
		Program: d.Program, Number: d.Number, Of: d.Of,
		Limit:   func(service string) int { return c.env.Load().service(service).maxProc },
		Warnf:   d.Log.Warnf,
		Resolve: c.lookUp,
	}, c.deliver)
	d.Talk(map[string]func(*net.UnixConn){
		"qmgr":    a.Partner,
		"cleanup": c.submit.Connect,
		"smtpd":   func(sock *net.UnixConn) { go daemon.Guard(func() { c.names(sock, d.Log) }) },
	})
	d.OnReload(func() { c.env.Store(newEnvironment(d)) })
	if err := d.Shut(lockdown.Doors{Connect: true, Unix: d.Program == "lmtp"}); err != nil {
		return err
	}
	d.Ready()

	end, cancel := d.UntilStop(ctx)
	defer cancel()
	c.stop()
	a.Stop(end)
	c.submit.Close()
	return nil
}

func newEnvironment(d *daemon.Daemon) *environment {
	c := d.Config()
	e := &environment{resolver: dns.New(nameServers(c, d.File, d.Log))}
	if b, err := d.File("/etc/hosts"); err == nil {
		e.hosts, e.hostNames = dns.ParseHosts(b), dns.ParseHostNames(b)
	}
	e.make = func(service string) *settings {
		line, own := d.Service(service + "/unix")
		maxProc := line.MaxProc
		if line.Name == "" {
			maxProc = own.Int("default_process_limit")
		}
		name, lmtp := "smtp", line.Command == "lmtp"
		if lmtp {
			name = "lmtp"
		}
		tag := own.String("syslog_name") + "/" + name
		return newSettings(service, lmtp, maxProc, own, files{d.Opener(), d.File}, d.Log.Named(tag))
	}
	return e
}

// nameServers says whom to ask: dns_nameservers, or those of resolv.conf.
func nameServers(c *config.Config, file func(string) ([]byte, error), log *maillog.Logger) dns.Config {
	var conf dns.Config
	b, err := file("/etc/resolv.conf")
	switch {
	case err == nil:
		conf = dns.ParseResolvConf(b)
	case !errors.Is(err, fs.ErrNotExist):
		log.Warnf("/etc/resolv.conf: %v; asking the name server of this machine", err)
	}
	var own []string
	for _, w := range c.List("dns_nameservers") {
		servers, bad := dns.ParseServers(w)
		if len(bad) > 0 {
			log.Warnf("dns_nameservers: %q is no address; it is left out", bad)
		}
		own = append(own, servers...)
	}
	if len(own) > 0 {
		conf.Servers = own
	}
	return conf
}
