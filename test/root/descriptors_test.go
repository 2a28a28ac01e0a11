package root

import (
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// smtpd holds nothing of the spool; smtp the contents of the messages that it has in
// hand, each alone and not to be changed, and nothing more when they are delivered.
func TestDescriptors(t *testing.T) {
	t.Parallel()
	far := sink.New(t, nil)
	release := make(chan struct{})
	far.Do(sink.Behaviour{Dot: func(*sink.Mail) string { <-release; return "" }})
	let := func() {
		if release != nil {
			close(release)
		}
		release = nil
	}
	defer let()
	i := system(t, route("sink.test", far), "smtp_destination_concurrency_limit = 20", "initial_destination_concurrency = 20")
	i.Start()
	daemons(t, i)
	// By where the contents travel: in the request, a sealed memory file, a file.
	sizes := map[string]int{"fd-4k": 4 << 10, "fd-60k": 60 << 10, "fd-150k": 150 << 10, "fd-250k": 250 << 10, "fd-300k": 300 << 10, "fd-2m": 2 << 20}
	memory, files := []string{"fd-150k", "fd-250k"}, []string{"fd-2m", "fd-300k"}
	for id, size := range sizes {
		send(t, i, source.New(id, "a@source.test", size, "r@sink.test"))
	}
	i.Await("deliveries past the dot", func() bool { return far.Pending() == len(sizes) })

	for _, pid := range i.PIDs("smtpd") {
		if found := contents(t, i, pid); len(found) != 0 {
			t.Errorf("smtpd holds contents: %v", found)
		}
	}
	if len(i.PIDs("smtp")) != 1 {
		t.Fatalf("processes of smtp: %v", i.PIDs("smtp"))
	}
	var inMemory, inFiles []string
	for _, d := range contents(t, i, i.PID("smtp")) {
		f, err := os.Open(d.path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		id := whole(b, sizes)
		if id == "" {
			t.Errorf("%v is not one message, alone: %d bytes", d, len(b))
		}
		if seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err == nil && strings.HasPrefix(d.target, "/memfd:") {
			if want := unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL; seals != want {
				t.Errorf("%v: seals %#x, not %#x", d, seals, want)
			}
			inMemory = append(inMemory, id)
		} else {
			if d.access() != unix.O_RDONLY {
				t.Errorf("%v is open for writing", d)
			}
			if owner(st) == house.accounts["smtp"].uid || st.Mode().Perm()&0007 != 0 {
				t.Errorf("%v can be opened anew for writing: %v %d", d, st.Mode(), owner(st))
			}
			inFiles = append(inFiles, id)
		}
		f.Close()
	}
	slices.Sort(inMemory)
	slices.Sort(inFiles)
	if !slices.Equal(inMemory, memory) || !slices.Equal(inFiles, files) {
		t.Errorf("in memory files %v, in files %v", inMemory, inFiles)
	}

	let()
	i.Await("the end of the deliveries", func() bool { return i.Drained() })
	i.Await("smtp to let go", func() bool { return len(contents(t, i, i.PID("smtp"))) == 0 })
}

// whole returns the id of the message whose content b is, with nothing before or after
// it but the header that we add.
func whole(b []byte, sizes map[string]int) string {
	id, _, err := ledger.Identify(b)
	if err != nil || len(b) < sizes[id] || len(b) > sizes[id]+1000 {
		return ""
	}
	return id
}

// contents are the descriptors of a process that are no sockets, not /dev/null, not the log
// and not read-only files of the machine. Those of the spool's must not be there at all.
func contents(t *testing.T, i *instance.Instance, pid int) (found []descriptor) {
	t.Helper()
	for _, d := range descriptors(t, pid) {
		name := d.target
		switch {
		case strings.HasPrefix(name, "socket:["), strings.HasPrefix(name, "anon_inode:["), name == "/dev/null":
		case name == i.Dir+"/maillog" && d.access() == unix.O_WRONLY && d.flags&unix.O_APPEND != 0:
		case name == i.Dir+"/stderr" && d.flags&unix.O_APPEND != 0: // master runs in the foreground
		case (strings.HasPrefix(name, "/etc/") || strings.HasPrefix(name, "/sys/fs/cgroup/")) && d.access() == unix.O_RDONLY:
		case name == "/memfd:table (deleted)": // master's copy of a lookup table
		case strings.HasPrefix(name, "/memfd:"), strings.HasPrefix(name, i.Queue+"/content/"):
			found = append(found, d)
		default:
			t.Errorf("process %d holds %v", pid, d)
		}
	}
	return found
}
