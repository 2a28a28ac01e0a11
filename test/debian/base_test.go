package debian

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// extra are packages that the tests install in the root, where there is no network.
var extra = []string{"bsd-mailx", "postfix", "systemd-sysv"}

// source is a Debian mirror, as this machine uses it.
type source struct{ mirror, suite string }

func thisMirror() (source, error) {
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(IDENTIFIER) $(ORIGIN) $(COMPONENT) $(CODENAME) $(SITE)").Output()
	if err != nil {
		return source{}, fmt.Errorf("apt-get indextargets: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) == 5 && f[0] == "Packages" && f[1] == "Debian" && f[2] == "main" && !strings.Contains(f[3], "-") {
			return source{f[4], f[3]}, nil
		}
	}
	return source{}, errors.New("apt-get knows no Debian mirror")
}

// base returns the tar file of the fresh root, making it when there is none.
func base(t *testing.T, cache string) string {
	t.Helper()
	s, err := thisMirror()
	if err != nil {
		t.Fatal(err)
	}
	tar := filepath.Join(cache, "debian-"+s.suite+"-4.tar")
	if _, err := os.Stat(tar); err == nil {
		return tar
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	// In memory, in a mount namespace of its own: dpkg syncs every file. The packages are
	// left in apt's cache, with what they need that a minimal root has not.
	dir := t.TempDir()
	must(t, "unshare", "--mount", "sh", "-ec", `mount -t tmpfs tmpfs "$1"
		chmod 755 "$1"
		for try in 1 2 3; do # a mirror that does not answer for a moment is no failure
			debootstrap --variant=minbase --include=cron,procps "$2" "$1" "$3" && break
			test $try != 3 && find "$1" -mindepth 1 -xdev -delete && sleep 5
		done
		echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/test"
		chroot "$1" apt-get clean
		chroot "$1" apt-get install -o Acquire::Retries=3 -qq -y --no-install-recommends --download-only $5
		tar -C "$1" -cf "$4.new" .`, "sh", dir, s.suite, s.mirror, tar, strings.Join(extra, " "))
	if err := os.Rename(tar+".new", tar); err != nil {
		t.Fatal(err)
	}
	return tar
}

// must runs a command of this machine.
func must(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		tail := string(out)
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail[max(0, len(tail)-3000):])
	}
}
