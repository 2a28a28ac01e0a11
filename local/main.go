package local

import (
	"context"
	"net"
	"os"
	"time"

	"postrider/lib/agent"
	"postrider/lib/daemon"
	"postrider/lib/mail"
	"postrider/lib/sysexits"
)

// Main is the program: the daemon, or, when the daemon starts it so, a helper.
func Main() {
	if len(os.Args) == 2 && os.Args[1] == helperArg {
		os.Exit(helper(os.Stdin, os.Stdout))
	}
	daemon.Run("local", serve)
}

func serve(ctx context.Context, d *daemon.Daemon) error {
	l := &deliverer{ids: mail.IDs{Number: uint64(os.Getpid())}, log: d.Log, now: time.Now}
	l.submit.Lost = func(err error) { d.Log.Warnf("lost connection with cleanup: %v", err) }
	configure := func() {
		line, c := d.Service("local/unix")
		s, err := newSite(c, d.Opener(), d.Owner, os.Geteuid() == 0)
		if err != nil {
			d.Log.Warnf("%v", err) // what depends on it waits
		}
		if s.maxProc = line.MaxProc; line.Name == "" {
			s.maxProc = c.Int("default_process_limit")
		}
		l.site.Store(s)
	}
	configure()
	a := agent.New(agent.Options{
		End:     func() { os.Exit(sysexits.TempFail) },
		Program: "local", Number: d.Number, Of: d.Of,
		Limit: func(string) int { return l.site.Load().maxProc },
		Warnf: d.Log.Warnf,
	}, l.handle)
	d.Talk(map[string]func(*net.UnixConn){"qmgr": a.Partner, "cleanup": l.submit.Connect})
	d.OnReload(configure)
	d.Ready()

	end, cancel := d.UntilStop(ctx)
	defer cancel()
	a.Stop(end)
	l.submit.Close()
	return nil
}
