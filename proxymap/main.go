package proxymap

import (
	"context"
	"net"
	"os"
	"time"

	"postrider/lib/daemon"
	"postrider/lib/ipc"
	"postrider/lib/lockdown"
	"postrider/lib/proto"
)

// again is how soon a directory that was not there is looked for once more.
const again = time.Minute

// Main is the program.
func Main() { daemon.Run("proxymap", serve) }

func serve(ctx context.Context, d *daemon.Daemon) error {
	var t tables
	read := func() {
		for path, err := range t.read(d.Files(), d.File) {
			d.Log.Errorf("sqlite:%s: %v; mail that depends on it is deferred", path, err)
		}
	}
	read()
	// Doors do not open again: for a directory that comes later, or is named by a new
	// definition, the process makes place for a new one.
	dirs := t.dirs()
	leave := make(chan struct{}, 1)
	for dir := range dirs {
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			d.Log.Warnf("directory %s is not there; mail that depends on its database is deferred", dir)
			delete(dirs, dir)
			defer time.AfterFunc(again, func() { leave <- struct{}{} }).Stop()
		}
	}
	d.Talk(map[string]func(*net.UnixConn){"qmgr": func(sock *net.UnixConn) { answer(d, &t, sock) }})
	d.OnReload(func() {
		read()
		for dir := range t.dirs() {
			if _, ok := dirs[dir]; !ok {
				select {
				case leave <- struct{}{}:
				default:
				}
			}
		}
	})
	if err := d.Shut(lockdown.Doors{Dirs: dirs}); err != nil {
		return err
	}
	d.Ready()
	select {
	case <-d.Stopping():
	case <-leave:
	case <-ctx.Done():
	}
	return nil // qmgr asks the next one for what is not answered
}

// atOnce is how many questions are worked on.
const atOnce = 500

// answer serves qmgr until the connection ends.
func answer(d *daemon.Daemon, t *tables, sock *net.UnixConn) {
	go daemon.Guard(func() {
		conn := ipc.New(sock, 0)
		defer conn.Close()
		if _, err := conn.Greet(ipc.Hello{Protocol: proto.TablesName, Version: proto.TablesVersion}); err != nil {
			return
		}
		free := make(chan struct{}, atOnce)
		for {
			f, err := conn.Next()
			if err != nil {
				return
			}
			f.CloseFDs()
			var q proto.Lookup
			if f.Type != proto.TypeLookup || q.Decode(f.Payload) != nil {
				d.Log.Warnf("qmgr asks what is no question")
				return
			}
			free <- struct{}{}
			go daemon.Guard(func() {
				defer func() { <-free }()
				a := proto.Found{ID: q.ID}
				var err error
				if a.Value, a.Found, err = t.lookup(q.Table, q.Key); err != nil {
					a.Failed = err.Error()
				}
				conn.Send(proto.TypeFound, &a)
			})
		}
	})
}
