package root

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postrider/test/source"
)

// C79, a chown -R by a helpful administrator, and what comes of copying a configuration
// about: check finds every wrong owner and mode and names the command that mends it;
// set-permissions mends them all but what may be a trap, and the mail is there.
func TestC79Permissions(t *testing.T) {
	t.Parallel()
	i := system(t)
	i.Start()
	send(t, i, source.New("kept", "a@source.test", 100000, "kept@local.test")) // makes every directory
	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("chown", "-R", "root:root", i.Queue).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	main := filepath.Join(i.Conf, "main.cf")
	for name, mode := range map[string]os.FileMode{i.Queue + "/maildrop": 0777, i.Queue + "/incoming": 0755, main: 0666} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(main, 12345, -1); err != nil {
		t.Fatal(err)
	}
	r := i.Run("postrider", "check")
	if r.Code != 1 {
		t.Errorf("check ends with %d", r.Code)
	}
	for _, want := range []string{
		"maildrop is not owned by postrider-msg: chown postrider-msg ", "maildrop has mode 0777, not 0730: chmod 0730 ",
		"incoming has mode 0755, not 2770: chmod 2770 ", "deferred is not owned by postrider: chown postrider ",
		"files in " + i.Queue + "/incoming, such as ", "main.cf is not owned by root: chown root ",
		"main.cf can be written by others than root: chmod go-w ", "set-permissions",
	} {
		if !strings.Contains(r.Stderr, want) {
			t.Errorf("check does not say %q:\n%s", want, r.Stderr)
		}
	}

	// Names for files of others, put there by who may write there: nobody gets those.
	secret := filepath.Join(i.Dir, "secret")
	if err := os.WriteFile(secret, nil, 0600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(secret, i.Queue+"/incoming/link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, i.Queue+"/incoming/symlink"); err != nil {
		t.Fatal(err)
	}
	r = i.Run("postrider", "set-permissions")
	if r.Code != 1 || !strings.Contains(r.Stderr, "incoming/link") || !strings.Contains(r.Stderr, "incoming/symlink") {
		t.Errorf("set-permissions with links: %+v", r)
	}
	if st, err := os.Stat(secret); err != nil || owner(st) != 0 {
		t.Error("set-permissions gave a file away by a link")
	}
	os.Remove(i.Queue + "/incoming/link")
	os.Remove(i.Queue + "/incoming/symlink")

	if r = i.Run("postrider", "set-permissions"); r.Code != 0 {
		t.Errorf("set-permissions: %+v", r)
	}
	if r = i.Run("postrider", "check"); r.Code != 0 || strings.Contains(r.Stderr, "chown") || strings.Contains(r.Stderr, "chmod") {
		t.Errorf("check after set-permissions: %+v", r)
	}
	checkOwners(t, i)
	i.Start()
	send(t, i, source.New("later", "a@source.test", 1000, "later@local.test"))
}
