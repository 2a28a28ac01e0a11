package instance

import (
	"fmt"
	"os/exec"
)

// private has root's shell run the script in a mount namespace of its own, and become the
// command there, with the command's user. Nothing of it is left when the system has ended.
func (i *Instance) private(cmd *exec.Cmd) {
	const become = "\nexec \"$@\""
	args := []string{"unshare", "-m", "--propagation", "private", "sh", "-ec", i.Private + become, "sh"}
	if c := cmd.SysProcAttr.Credential; c != nil {
		args = append(args, "setpriv", fmt.Sprintf("--reuid=%d", c.Uid), fmt.Sprintf("--regid=%d", c.Gid), "--clear-groups")
		cmd.SysProcAttr.Credential = nil
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		i.t.Fatalf("%v (package util-linux)", err)
	}
	cmd.Path, cmd.Args = path, append(append(args, cmd.Path), cmd.Args[1:]...)
}
