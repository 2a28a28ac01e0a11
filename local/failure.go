package local

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"postrider/lib/agent"
	"postrider/lib/mail"
)

// failure is an error that says what becomes of the mail.
type failure struct{ status mail.Status }

func (f *failure) Error() string { return f.status.Text }

// statusOf is what an error means for the mail: it is deferred unless the error says
// that it can never be delivered.
func statusOf(err error) mail.Status {
	var f *failure
	switch {
	case errors.As(err, &f):
		return f.status
	case errors.Is(err, agent.ErrContent):
		return agent.ContentStatus
	}
	return maildirStatus(err)
}

// code is the status code of an error that hit a mailbox (RFC 3463, 3.3 and 3.4).
func code(err error) string {
	switch {
	case errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		return "4.2.2" // the user's share of the disk is used up
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		return "4.3.0" // the machine is short of something
	}
	return "4.2.0" // no permission, an error of the disk, anything else
}

// maildirStatus is the outcome of a delivery to a Maildir.
func maildirStatus(err error) mail.Status {
	if err == nil {
		return sent("delivered to maildir")
	}
	return deferred(code(err), "maildir delivery failed: "+err.Error())
}

// mboxStatus is the outcome of a delivery to a mailbox file of user, or to a file that
// an alias or a .forward names.
func (m *mbox) status(user string, err error) mail.Status {
	done, text := "delivered to mailbox", "cannot update mailbox "+m.Path+" for user "+user+". "
	if m.Target {
		done, text = "delivered to file: "+m.Path, "cannot append message to file "+m.Path+": "
	}
	var never errDestination
	switch {
	case err == nil:
		return sent(done)
	case errors.As(err, &never):
		return bounced("5.2.0", text+err.Error())
	case errors.Is(err, fs.ErrExist):
		return deferred("4.2.0", text+"file is locked: "+err.Error())
	}
	return deferred(code(err), text+err.Error())
}
