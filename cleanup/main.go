package cleanup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/daemon"
	"postrider/lib/disk"
	"postrider/lib/journal"
	"postrider/lib/lockdown"
	"postrider/lib/mail"
	"postrider/lib/maildrop"
	"postrider/lib/table"
)

// Main is the program.
func Main() { daemon.Run("cleanup", serve) }

// serve runs until master wants the end. The working directory is queue_directory.
func serve(ctx context.Context, d *daemon.Daemon) error {
	cfg := d.Config()
	s := newService(d.Log, time.Now)
	s.number(os.Getpid())
	s.notes, _, s.strikes = d.Suspects()
	s.configure(cfg, d.Opener())
	err := s.openJournal(journal.Options{
		FS:          disk.OS("."),
		InlineLimit: int64(cfg.Int("journal_inline_limit")),
		SizeLimit:   int64(cfg.Int("journal_size_limit")),
		MinFree:     int64(cfg.Int("queue_minfree")),
	})
	if err != nil {
		return err
	}
	if err := d.Shut(lockdown.Doors{Accept: true, Dirs: map[string]lockdown.Access{
		"incoming": lockdown.Read | lockdown.Write | lockdown.List | lockdown.Create | lockdown.Remove,
		"content":  lockdown.Read | lockdown.Write | lockdown.List | lockdown.Create | lockdown.Remove,
		dropDir:    lockdown.Read | lockdown.List | lockdown.Remove,
	}}); err != nil {
		return err
	}
	drop := newDropReader(s, ".", d.Log.Named(cfg.String("syslog_name")+"/pickup"))
	s.drop = drop
	d.OnPartner(func(name string, sock *net.UnixConn) {
		if name == "qmgr" {
			conn := s.queue.attach(sock)
			go daemon.Guard(func() { s.queue.serve(conn) })
			return
		}
		c := s.newClient(name, sock)
		go daemon.Guard(c.serve)
	})
	d.OnReload(func() { s.configure(d.Config(), d.Opener()) })

	d.Ready() // before maildrop/ is read: what dies of that was served by a sound process
	dropCtx, stopDrop := context.WithCancel(ctx)
	defer stopDrop()
	dropDone := make(chan struct{})
	go func() {
		defer close(dropDone)
		for dropCtx.Err() == nil && daemon.Guard(func() { drop.run(dropCtx) }) {
		}
	}()
	if l := d.Listeners()["public/pickup"]; l != nil {
		go drop.listen(l)
	}
	direct := newReceiver(s, drop.log, func() string { b, _ := d.File("/etc/passwd"); return string(b) })
	if l := d.Listeners()[maildrop.Socket]; l != nil {
		go direct.listen(l)
	}

	var cut error
	select {
	case <-d.Stopping():
	case <-s.queue.lost:
		cut = errCut
	case <-s.unclear:
		return errUnclear
	}
	// Whoever still submits may finish: the end of their connections is ours.
	stopDrop()
	<-dropDone
	direct.stop()
	grace, cancel := context.WithTimeout(ctx, d.Grace())
	defer cancel()
	s.waitClients(grace)
	return errors.Join(cut, s.journal.Close())
}

// configure takes over a configuration, at the start and at each reload, and the tables
// when they have changed. The limits of the journal are those of the start.
func (s *service) configure(cfg *config.Config, open table.Opener) {
	mapper, err := address.NewMapper(cfg, open)
	if err != nil {
		s.log.Warnf("%v", err) // mail that needs it gets 451
	}
	wanted, err := readCapture(open)
	if err != nil {
		s.log.Errorf("sched.cf: %v; no header fields are captured for it", err)
	}
	// Only Rewrite is used, which reads no table.
	r, _ := address.New(cfg, func(path string) (*io.SectionReader, error) {
		return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	})
	var remote func(mail.Address) mail.Address
	if domain := cfg.String("remote_header_rewrite_domain"); domain != "" {
		remote = r.Elsewhere(domain).Rewrite
	}
	s.settings.Store(&settings{
		myhostname:  cfg.String("myhostname"),
		mailName:    cfg.String("mail_name"),
		pickup:      cfg.String("syslog_name") + "/pickup",
		hopLimit:    cfg.Int("hopcount_limit"),
		headerLimit: cfg.Int("header_size_limit"),
		sizeLimit:   int64(cfg.Int("message_size_limit")),
		addMissing:  cfg.Bool("always_add_missing_headers"),
		verpFilter:  cfg.String("verp_delimiter_filter"),
		tokenLimit:  cfg.Int("header_address_token_limit"),
		drop:        cfg.List("message_drop_headers"),
		rewrite:     r.Rewrite,
		remote:      remote,
		mapper:      mapper,
		checks:      newChecks(cfg, open, s.log.Warnf),
		filter:      cfg.String("content_filter"),
		capture:     wanted,
		submitters:  cfg.List("authorized_submit_users"),
		double:      mail.Address(cfg.String("double_bounce_sender") + "@" + cfg.String("myhostname")),
		owner:       cfg.String("mail_owner"),
	})
}

// openJournal makes directories that are missing, as on a private instance that was
// never started, and begins a journal file.
func (s *service) openJournal(o journal.Options) error {
	for dir, mode := range map[string]os.FileMode{"incoming": 0o770, "content": 0o770, dropDir: 0o730} {
		if err := o.FS.Mkdir(dir, mode); err != nil && !os.IsExist(err) {
			return fmt.Errorf("%w (master makes the directories of the queue: start it as root, or check its owner)", err)
		}
	}
	o.Maildrop = dropDir
	o.OnDurable = s.queue.durable
	o.Now = s.now
	o.Logf = s.log.Warnf
	j, err := journal.Open(o)
	s.journal = j
	return err
}
