package root

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postrider/test/instance"
	"postrider/test/source"
)

// hungUsers is how many users have what hangs, and hungMails how much mail comes for each.
const (
	hungUsers = 50
	hungMails = 4
)

// Fifty users have a home directory that does not answer, as behind a file server that is
// away: whoever opens their .forward stands still in the kernel. Mail for others arrives
// within a second, and that of the fifty when their homes are back.
func TestHungHomes(t *testing.T) {
	t.Parallel()
	i, homes := crowd(t, hungUsers)
	var held []*os.File
	for _, home := range homes {
		name := home + "/.forward"
		if err := os.WriteFile(name, []byte("\\"+filepath.Base(home)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		// A write lease: the kernel lets nobody else open the file before it is given back,
		// or /proc/sys/fs/lease-break-time is over.
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
			t.Fatalf("a lease on %s: %v", name, err)
		}
		held = append(held, f)
	}
	i.Start()
	others(t, i, homes)
	if n := len(i.Grep(`to=<hung\d+@.*status=(sent|bounced)`)); n != 0 {
		t.Errorf("%d deliveries for those whose homes hang", n)
	}
	for _, f := range held {
		f.Close()
	}
	i.Set("minimal_backoff_time = 1s", "queue_run_delay = 1s")
	i.Must("master", "reload")
	i.Await("the mail of those whose homes are back", func() bool {
		i.Must("postqueue", "-f")
		for _, home := range homes {
			if found, _ := filepath.Glob(home + "/Maildir/new/*"); len(found) != hungMails {
				return false
			}
		}
		return i.Drained()
	})
}

// The same with fifty users whose .forward is a command that does not end.
func TestHungCommands(t *testing.T) {
	t.Parallel()
	i, homes := crowd(t, hungUsers)
	for _, home := range homes {
		if err := os.WriteFile(home+"/.forward", []byte("\"|exec sleep 600\"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	i.Start()
	others(t, i, homes)
}

// crowd writes a system with that many users more than the machine has: they are in a
// passwd of its own, with the user of the suite as what they all run as.
func crowd(t *testing.T, users int) (i *instance.Instance, homes []string) {
	t.Helper()
	i = system(t, "default_process_limit = 100", "command_time_limit = 600s", "stop_grace = 1s")
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	for n := range users {
		name := fmt.Sprintf("hung%d", n)
		home := filepath.Join(i.Dir, "home", name)
		uid := 3000000 + n
		passwd = fmt.Appendf(passwd, "%s:x:%d:%d::%s:/usr/sbin/nologin\n", name, uid, uid, home)
		if err := os.MkdirAll(home, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(home, uid, uid); err != nil {
			t.Fatal(err)
		}
		homes = append(homes, home)
	}
	i.WriteFile("passwd", string(passwd))
	i.Private = "mount --bind " + i.Dir + "/passwd /etc/passwd"
	return i, homes
}

// others sends mail for those who hang and, while it hangs, mail for one who does not. It
// must be there within a second.
func others(t *testing.T, i *instance.Instance, homes []string) {
	t.Helper()
	for n := range hungMails {
		for _, home := range homes {
			name := filepath.Base(home)
			send(t, i, source.New(fmt.Sprintf("%s-%d", name, n), "a@source.test", 1000, name+"@"+instance.Domain))
		}
	}
	var waits []time.Duration
	for n := range 20 {
		id := fmt.Sprintf("%s-other-%d", strings.ToLower(t.Name()), n)
		began := time.Now()
		send(t, i, source.New(id, "a@source.test", 1000, house.user.name+"@"+instance.Domain))
		i.Await("mail for another", func() bool { return len(inbox(t, "X-Ledger: "+id)) == 1 || len(inbox(t, id)) == 1 })
		waits = append(waits, time.Since(began))
	}
	slices.Sort(waits)
	t.Logf("%d users hang, %d messages each: mail for another takes %v, %v at most", len(homes), hungMails, waits[len(waits)/2], waits[len(waits)-1])
	if waits[len(waits)-1] > time.Second {
		t.Errorf("mail for others waits: %v", waits)
	}
}
