package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// The log's file system is full or read-only, or the log and its directory are removed:
// mail flows as ever, and when the place is there again so are the lines, with no help.
func TestLogGoneAndBack(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a small tmpfs")
	}
	for name, fault := range map[string]func(t *testing.T, i *instance.Instance, dir string) (undo func()){
		"full": func(t *testing.T, _ *instance.Instance, dir string) func() {
			filler := filepath.Join(dir, "fill")
			fillFile(t, filler)
			return func() { must(t, os.Remove(filler)) }
		},
		// It can become so only while nobody has the log open.
		"read-only": func(t *testing.T, i *instance.Instance, dir string) func() {
			i.Kill()
			must(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
			i.Start()
			return func() { must(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT, "")) }
		},
		"removed": func(t *testing.T, _ *instance.Instance, dir string) func() {
			must(t, os.RemoveAll(filepath.Join(dir, "sub")))
			return func() { must(t, mkdirAs(filepath.Join(dir, "sub"), dir)) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l ledger.Ledger
			far := sink.New(t, &l)
			i := instance.New(t, "transport_maps = inline:{ {far.test=smtp:"+far.NextHop()+"} }")
			dir := filepath.Join(i.Dir, "log")
			must(t, mkdirAs(dir, i.Queue))
			owner := ownerOf(t, i.Queue)
			must(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=4m,mode=0755,uid=%d,gid=%d", owner.Uid, owner.Gid)))
			t.Cleanup(func() { i.Kill(); syscall.Unmount(dir, syscall.MNT_DETACH) })
			must(t, mkdirAs(filepath.Join(dir, "sub"), dir))
			log := filepath.Join(dir, "sub", "mail.log")
			i.Set("maillog_file = " + log)
			i.Start()
			n := 0
			logged := func() bool { // a message of now is in the log
				n++
				id := send(t, i, &l, source.New(fmt.Sprintf("m%d", n), "a@source.test", 1000, "r@far.test"))
				i.Await("the delivery", func() bool { return l.Open() == 0 })
				b, _ := os.ReadFile(log)
				return strings.Contains(string(b), id)
			}
			i.Await("a log", logged)
			undo := fault(t, i, dir)
			for range 300 {
				n++
				send(t, i, &l, source.New(fmt.Sprintf("m%d", n), "a@source.test", 1000, "r@far.test"))
			}
			i.Await("mail without a log", func() bool { return l.Open() == 0 && i.Drained() })
			i.KillOne("smtp")
			logged()
			undo()
			i.Await("the log to go on", logged)
			i.Await("an empty queue", i.Drained)
			if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 {
				t.Errorf("%v; %v", v.Err(), v)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ownerOf(t *testing.T, path string) *syscall.Stat_t {
	t.Helper()
	st, err := os.Stat(path)
	must(t, err)
	return st.Sys().(*syscall.Stat_t)
}

// mkdirAs makes a directory with the owner of another one.
func mkdirAs(path, like string) error {
	st, err := os.Stat(like)
	if err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	o := st.Sys().(*syscall.Stat_t)
	return os.Chown(path, int(o.Uid), int(o.Gid))
}
