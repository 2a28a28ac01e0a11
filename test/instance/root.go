package instance

import (
	"os"
	"os/exec"
	"testing"
)

// AsRoot writes the configuration of an instance that root starts, as on a real machine:
// daemons get the accounts of the suite, and mail for Domain goes to users of the machine.
// bin holds the programs, where those accounts can reach them. The caller is root and the
// accounts exist. It is not started.
func AsRoot(t testing.TB, bin string, lines ...string) *Instance {
	t.Helper()
	return create(t, bin, nil, append([]string{"home_mailbox = Maildir/"}, lines...))
}

// Accounts makes the accounts of an installed system, as an administrator would. They stay.
func Accounts() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	cmd := exec.Command("make", "-s", "accounts")
	cmd.Dir = root
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}
