package root

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postrider/test/instance"
	"postrider/test/sink"
	"postrider/test/source"
)

func owner(st fs.FileInfo) int { return int(st.Sys().(*syscall.Stat_t).Uid) }
func group(st fs.FileInfo) int { return int(st.Sys().(*syscall.Stat_t).Gid) }

// The queue belongs to whom design.md says, with mail in it and after all verbs of an
// operator who is root and works on the spool himself: nothing of it becomes root's.
func TestOwners(t *testing.T) {
	t.Parallel()
	far := sink.New(t, nil)
	far.Refuse()
	i := system(t, route("sink.test", far))
	i.Start()
	var ids []string
	for n := range 6 {
		ids = append(ids, send(t, i, source.New(fmt.Sprintf("own-%d", n), "a@source.test", 1000<<(2*n), "r@sink.test"))) // to 1 MB
	}
	held := ids[0]
	for _, id := range ids {
		i.AwaitQueue(id, "deferred")
	}
	i.Must("postsuper", "-h", held)
	checkOwners(t, i)
	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}
	checkOwners(t, i)

	down := func(args ...string) {
		t.Helper()
		if r := i.Run("postsuper", args...); r.Code != 0 {
			t.Errorf("postsuper %v: %+v", args, r)
		}
		checkOwners(t, i)
	}
	down("-h", ids[1])
	down("-H", "ALL")
	down("-d", ids[2])
	down("-h", ids[3])
	if got := i.Must("postqueue", "-p"); strings.Count(got, "r@sink.test") != 5 || !strings.Contains(got, ids[3]+"!") {
		t.Errorf("postqueue -p while down:\n%s", got)
	}
	i.Must("postcat", "-q", ids[5])
	checkOwners(t, i)

	far.Accept(t)
	i.Start()
	i.Must("postqueue", "-f")
	i.Await("four deliveries", func() bool { return len(far.Mails()) == 4 })
	i.AwaitQueue(ids[3], "hold")
	i.Must("postsuper", "-d", "ALL")
	i.Await("an empty queue", i.Drained)
	checkOwners(t, i)
}

// checkOwners walks the whole queue.
func checkOwners(t *testing.T, i *instance.Instance) {
	t.Helper()
	h := &house
	msg, own := h.accounts["cleanup"].uid, h.accounts["qmgr"]
	type want struct {
		mode     fs.FileMode
		uid, gid int
		files    []int // who may own files
	}
	dirs := map[string]want{
		".":        {fs.ModeSticky | 0775, 0, own.gid, []int{own.uid}}, // qmgr's version file, nothing of root's
		"incoming": {fs.ModeSetgid | 0770, msg, own.gid, []int{msg, own.uid}},
		"content":  {fs.ModeSetgid | 0770, msg, own.gid, []int{msg, own.uid}},
		"maildrop": {0730, msg, h.postdrop, nil},
		"deferred": {0700, own.uid, own.gid, []int{own.uid}},
		"hold":     {0700, own.uid, own.gid, []int{own.uid}},
		"store":    {0700, own.uid, own.gid, []int{own.uid}},
		"log":      {0700, own.uid, own.gid, []int{own.uid}},
		"corrupt":  {0700, own.uid, own.gid, []int{own.uid}},
		"public":   {0755, 0, 0, []int{0}},
		"private":  {0710, own.uid, h.accounts["smtp"].gid, nil},
		"pid":      {0755, 0, 0, []int{0, own.uid}},
	}
	const bits = fs.ModePerm | fs.ModeSetgid | fs.ModeSetuid | fs.ModeSticky
	seen := 0
	err := filepath.WalkDir(i.Queue, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // recycled meanwhile
			}
			return err
		}
		st, err := d.Info()
		if err != nil {
			return nil
		}
		name, _ := filepath.Rel(i.Queue, path)
		if d.IsDir() {
			w, ok := dirs[name]
			if !ok {
				t.Errorf("a directory %s", name)
			} else if st.Mode()&bits != w.mode || owner(st) != w.uid || group(st) != w.gid {
				t.Errorf("%s: %v %d:%d, not %v %d:%d", name, st.Mode(), owner(st), group(st), w.mode, w.uid, w.gid)
			}
			seen++
			return nil
		}
		w := dirs[filepath.Dir(name)]
		for _, uid := range w.files {
			if owner(st) == uid {
				ok := st.Mode()&0007 == 0 && st.Mode()&(fs.ModeSetuid|fs.ModeSetgid) == 0
				switch filepath.Dir(name) {
				case "incoming", "content":
					ok = st.Mode().Perm() == 0660 && group(st) == w.gid
				case "public":
					ok = st.Mode()&fs.ModeSocket != 0
				case "pid", ".":
					ok = st.Mode()&0002 == 0
				}
				if !ok {
					t.Errorf("%s: %v %d:%d", name, st.Mode(), owner(st), group(st))
				}
				return nil
			}
		}
		t.Errorf("%s belongs to %d:%d", name, owner(st), group(st))
		return nil
	})
	if err != nil || seen != len(dirs) {
		t.Errorf("%d directories of %d: %v", seen, len(dirs), err)
	}
	if st, err := os.Stat(i.Dir + "/data"); err != nil || owner(st) != own.uid || st.Mode().Perm() != 0700 {
		t.Errorf("data_directory: %v %v", st, err)
	}
}
