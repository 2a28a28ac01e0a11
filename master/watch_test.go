package master

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A table that changes is handed out, however it is written: in its place, by a new file
// under its name, behind a link, in a directory that is exchanged. A broken text is not,
// and neither is it when the configuration is read anew or a daemon starts.
func TestWatch(t *testing.T) {
	w := newWorld(t)
	link := filepath.Join(w.dir, "link")
	w.write("real/deep/table", "a one")
	if err := os.Symlink("real/deep", link); err != nil {
		t.Fatal(err)
	}
	w.main("transport_maps = texthash:" + w.dir + "/link/table")
	w.start()
	has := func(text string) {
		t.Helper()
		w.wait(1, `qmgr\[.*: one\.example table "`+text+`" <nil>`)
	}
	has("a one")
	w.write("real/deep/table", "a two")
	has("a two")
	w.write("real/deep/new", "a three")
	os.Rename(filepath.Join(w.dir, "real/deep/new"), filepath.Join(w.dir, "real/deep/table"))
	has("a three")

	w.write("other/table", "a four")
	os.Symlink("other", link+".new")
	os.Rename(link+".new", link)
	has("a four")
	os.Rename(filepath.Join(w.dir, "other"), filepath.Join(w.dir, "gone"))
	w.write("other.new/table", "a five")
	os.Rename(filepath.Join(w.dir, "other.new"), filepath.Join(w.dir, "other"))
	has("a five")

	w.write("other/table", "a six\nnovalue\n")
	w.wait(1, `error: .*/link/table: the old one stays in use: .*/link/table, line 2: expected format: key whitespace value`)
	if out, code := w.run("reload"); code != 0 {
		t.Fatalf("reload: %d %s", code, out)
	}
	w.wait(2, `the old one stays in use`)
	if err := syscall.Kill(w.pid("qmgr"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.wait(1, `qmgr\[.*ready: one\.example table "a five"`)
	if strings.Contains(w.log(), "a six") {
		t.Error("a broken text was handed out")
	}
	w.write("other/table", "a seven\na again\n") // comes twice: no fault
	has(`a seven\\na again\\n`)
}
