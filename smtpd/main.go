package smtpd

import (
	"context"
	"net"
	"strings"
	"time"

	"postrider/lib/daemon"
	"postrider/lib/lockdown"
)

// Main runs the daemon and exits.
func Main() { daemon.Run("smtpd", serve) }

func serve(ctx context.Context, d *daemon.Daemon) error {
	s := newServer(d.Log)
	s.of, s.number = max(d.Of, 1), d.Number
	s.submit.Full = s.full.take
	s.submit.Lost = func(err error) { d.Log.Warnf("%v", err) }
	d.Talk(map[string]func(*net.UnixConn){
		"cleanup": s.submit.Connect,
		"smtp":    func(sock *net.UnixConn) { go daemon.Guard(func() { s.names.connect(sock) }) },
	})
	for _, name := range d.Partners() {
		if strings.HasPrefix(name, "smtp.") {
			s.names.expect()
		}
	}
	auth := dovecots{d: d}
	policy := policies(d.Dial, d.Log)
	load := func() {
		open := map[string]bool{}
		for name, l := range d.Listeners() {
			line, cfg := d.Service(name)
			set := newSettings(cfg, d.Opener(), policy, d.Log)
			set.tls = newTLS(cfg, d.File, d.Log)
			set.sasl = newSASL(cfg, d.File, auth.of, d.Log)
			s.listen(name, l, d.Log.Named(d.Tag(cfg)), set, line.MaxProc)
			open[name] = true
		}
		s.drop(open)
	}
	load()
	d.OnReload(load)
	if err := d.Shut(lockdown.Doors{Accept: true}); err != nil {
		return err
	}
	d.Ready()

	select {
	case <-d.Stopping():
	case <-ctx.Done():
	}
	s.stop()
	wait, cancel := context.WithTimeout(ctx, max(d.Grace(), time.Second))
	defer cancel()
	s.wait(wait)
	s.submit.Close()
	return nil
}
