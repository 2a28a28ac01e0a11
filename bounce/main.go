package bounce

import (
	"context"
	"net"
	"os"
	"time"

	"postrider/lib/agent"
	"postrider/lib/daemon"
	"postrider/lib/lockdown"
	"postrider/lib/mail"
)

// Main is the program.
func Main() { daemon.Run("bounce", serve) }

func serve(ctx context.Context, d *daemon.Daemon) error {
	b := &bouncer{ids: mail.IDs{Number: uint64(os.Getpid())}, log: d.Log, now: time.Now}
	b.submit.Lost = func(err error) { d.Log.Warnf("lost connection with cleanup: %v", err) }
	b.set.Store(newSettings(d))
	a := agent.New(agent.Options{
		Program: "bounce", Number: d.Number, Of: d.Of,
		Limit: func(string) int { return b.set.Load().maxProc },
		Warnf: d.Log.Warnf,
	}, b.handle)
	d.OnPartner(func(name string, sock *net.UnixConn) {
		switch name {
		case "qmgr":
			a.Partner(sock)
		case "cleanup":
			b.submit.Connect(sock)
		default:
			d.Log.Warnf("a socket to %q is of no use to bounce", name)
			sock.Close()
		}
	})
	d.OnReload(func() { b.set.Store(newSettings(d)) })
	d.Shut(lockdown.Doors{})
	d.Ready()

	select {
	case <-d.Stopping():
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(ctx, d.Grace())
	defer cancel()
	a.Stop(end)
	b.submit.Close()
	return nil
}
