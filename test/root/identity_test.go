package root

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"postrider/test/instance"
)

// localCapabilities are CAP_KILL, CAP_SETGID and CAP_SETUID.
const localCapabilities = "00000000000000e0"

// Each daemon is whom design.md says, with no right of root's, from its start and when it
// was restarted; of root is left what local needs to become a recipient.
func TestIdentity(t *testing.T) {
	t.Parallel()
	i := system(t)
	i.Start()
	first := daemons(t, i)
	for _, p := range first {
		checkIdentity(t, i, p)
	}
	for _, name := range []string{"smtpd", "smtp", "local", "bounce", "cleanup", "qmgr"} {
		i.KillOne(name)
	}
	i.Await("new processes", func() bool { return len(daemons(t, i)) == len(first) })
	for _, p := range daemons(t, i) {
		checkIdentity(t, i, p)
	}
}

func checkIdentity(t *testing.T, i *instance.Instance, p instance.Process) {
	t.Helper()
	who := house.accounts[p.Name]
	ids := func(n int) string { s := strconv.Itoa(n); return strings.Join([]string{s, s, s, s}, " ") }
	want := map[string]string{"Uid": ids(who.uid), "Gid": ids(who.gid), "Groups": strings.Trim(fmt.Sprint(who.groups), "[]")}
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		want[set] = "0000000000000000"
	}
	if p.Name == "local" {
		want["CapPrm"], want["CapEff"], want["CapBnd"] = localCapabilities, localCapabilities, localCapabilities
	} else if who.uid == 0 {
		t.Errorf("%s is known as root", p.Name)
	}
	for _, thread := range threads(t, p.PID) {
		got := status(t, thread)
		for name, value := range want {
			if got != nil && got[name] != value {
				t.Errorf("%s (%s): %s is %q, not %q", p.Name, thread, name, got[name], value)
			}
		}
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID))
	if err != nil {
		t.Error(err)
	}
	for v := range strings.SplitSeq(strings.TrimRight(string(env), "\x00"), "\x00") {
		if name, _, _ := strings.Cut(v, "="); name != "PATH" && name != "LANG" && name != "TZ" {
			t.Errorf("%s has %s in its environment", p.Name, v)
		}
	}
	open := "?"
	defer func() {
		if open != "" {
			t.Errorf("%s: %s", p.Name, open)
		}
	}()
	i.Await(p.Name+" to shut its doors", func() bool { open = openDoor(t, p); return open == "" })
}

// openDoor says what the daemon has not given up, if anything.
func openDoor(t *testing.T, p instance.Process) string {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", p.PID)
	limits, err := os.ReadFile(proc + "limits")
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0 bytes") {
		return fmt.Sprintf("may write core files: %v %s", err, limits)
	}
	// The files of a process that may not be dumped, nor traced by its own user, are root's.
	if st, err := os.Stat(proc + "environ"); err != nil || owner(st) != 0 {
		return fmt.Sprintf("may be traced by its own user: %v", err)
	}
	want := "1"
	if p.Name == "local" {
		want = "0" // its helpers run users' commands
	}
	for _, thread := range threads(t, p.PID) {
		if got := status(t, thread); got != nil && got["NoNewPrivs"] != want {
			return "no_new_privs is " + got["NoNewPrivs"]
		}
	}
	return ""
}
