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
	"postrider/lib/sysexits"
)

// Main is the program.
func Main() { daemon.Run("bounce", serve) }

func serve(ctx context.Context, d *daemon.Daemon) error {
	b := &bouncer{ids: mail.IDs{Number: uint64(os.Getpid())}, log: d.Log, now: time.Now}
	b.submit.Lost = func(err error) { d.Log.Warnf("lost connection with cleanup: %v", err) }
	b.set.Store(newSettings(d))
	a := agent.New(agent.Options{
		End:     func() { os.Exit(sysexits.TempFail) },
		Program: "bounce", Number: d.Number, Of: d.Of,
		Limit: func(string) int { return b.set.Load().maxProc },
		Warnf: d.Log.Warnf,
	}, b.handle)
	d.Talk(map[string]func(*net.UnixConn){"qmgr": a.Partner, "cleanup": b.submit.Connect})
	d.OnReload(func() { b.set.Store(newSettings(d)) })
	if err := d.Shut(lockdown.Doors{}); err != nil {
		return err
	}
	d.Ready()

	end, cancel := d.UntilStop(ctx)
	defer cancel()
	a.Stop(end)
	b.submit.Close()
	return nil
}
