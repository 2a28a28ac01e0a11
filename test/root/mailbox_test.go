package root

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postrider/lib/table/tabletest"
	"postrider/test/instance"
	"postrider/test/source"
)

// The traditional way: a mailbox file in a directory of the group mail, as Debian has it,
// an alias to a command from an indexed table, and a .forward to another.
func TestTraditional(t *testing.T) {
	t.Parallel()
	i := system(t)
	dir := filepath.Join(house.dir, "traditional")
	for _, d := range []string{dir, dir + "/spool", dir + "/open"} {
		if err := os.Mkdir(d, 0755); err != nil {
			t.Fatal(err)
		}
	}
	const groupMail = 8 // of Debian, whatever it is called
	if err := os.Chown(dir+"/spool", 0, groupMail); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir+"/spool", os.ModeSetgid|0775); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir+"/open", 0777); err != nil {
		t.Fatal(err)
	}
	aliases, err := tabletest.WriteIndex(i.Conf+"/aliases", fmt.Sprintf("script: \"|id -un >%[1]s/open/who; cat >%[1]s/open/what\"\nfile: %[1]s/open/file\n"+
		"both: %[2]s, \"|cat >%[1]s/open/both\"\n", dir, house.user.name), true)
	if err != nil {
		t.Fatal(err)
	}
	i.Set("home_mailbox =", "mail_spool_directory = "+dir+"/spool", "alias_maps = hash:"+aliases)
	i.Start()

	there := func(path, want string) func() bool {
		return func() bool {
			b, _ := os.ReadFile(path)
			return strings.Contains(string(b), want)
		}
	}
	box := dir + "/spool/" + house.user.name
	send(t, i, source.New("tr-box", "a@source.test", 3000, house.user.name+"@"+instance.Domain))
	i.Await("mail in the mailbox", there(box, "X-Ledger"))
	if st, err := os.Stat(box); err != nil || owner(st) != house.user.uid || group(st) != groupMail || st.Mode().Perm() != 0600 {
		t.Errorf("%v %v", st, err)
	}
	if b, _ := os.ReadFile(box); !strings.HasPrefix(string(b), "From a@source.test  ") || !strings.HasSuffix(string(b), "\n\n") {
		t.Errorf("the mailbox: %.200s", b)
	}
	i.AwaitLog(`local\[\d+\]: \w+: to=<` + house.user.name + `@\S+>, relay=local, delay=[\d.]+, delays=\S+, dsn=2\.0\.0, status=sent \(delivered to mailbox\)$`)

	send(t, i, source.New("tr-script", "a@source.test", 3000, "script@"+instance.Domain))
	i.Await("the command", there(dir+"/open/what", "Delivered-To: script@"))
	if !there(dir+"/open/who", "nobody\n")() {
		t.Error("the command of root's aliases did not run as nobody")
	}
	i.AwaitLog(`to=<script@\S+>, relay=local, .*dsn=2\.0\.0, status=sent \(delivered to command: id -un >`)
	send(t, i, source.New("tr-file", "a@source.test", 3000, "file@"+instance.Domain))
	i.AwaitLog(`to=<file@\S+>, relay=local, .*dsn=2\.0\.0, status=sent \(delivered to file: ` + dir + `/open/file\)$`)
	before, _ := os.ReadFile(box)
	send(t, i, source.New("tr-both", "a@source.test", 3000, "both@"+instance.Domain))
	i.Await("each of both", func() bool {
		b, _ := os.ReadFile(box)
		return there(dir+"/open/both", "Delivered-To: both@")() && len(b) > len(before)
	})
	i.Await("an empty queue", i.Drained)
}
