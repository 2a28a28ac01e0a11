// Package daemon is what the main of every daemon does: it takes from master,
// over descriptor 3, who the daemon is, its configuration and its descriptors,
// shuts doors, and tells the daemon of partners, reloads and the end. See
// doc/internals.md, "How a daemon starts".
//
//	func Main() { daemon.Run("smtpd", serve) }
//
//	func serve(ctx context.Context, d *daemon.Daemon) error {
//		d.OnPartner(...)
//		d.Ready()
//		<-d.Stopping()
//		return nil
//	}
//
// It opens no file by name.
package daemon
