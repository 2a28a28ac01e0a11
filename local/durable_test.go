package local

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What a helper says is delivered survives a power cut: by the order of its system calls,
// a message is synced before it gets its name, and before the answer the names of the
// message and of every directory that was made are synced too.
func TestMaildirDurable(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("needs strace: ", err)
	}
	dir := filepath.Join(t.TempDir(), "home", "sub", "Maildir")
	trace := filepath.Join(t.TempDir(), "trace")
	var in bytes.Buffer
	first, err := json.Marshal(&job{Maildir: &maildir{Dir: dir, Host: "h"}})
	if err != nil {
		t.Fatal(err)
	}
	writeBlock(&in, first)
	w := blocks{&in}
	w.Write([]byte(strings.Repeat("a line\n", 30000)))
	writeBlock(&in, nil)
	cmd := exec.Command(strace, "-f", "-y", "-s", "1", "-o", trace, "-e", "trace=write,fsync,fdatasync,mkdir,mkdirat,rename,renameat,renameat2", os.Args[0], helperArg)
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), "delivered to maildir") {
		t.Fatalf("the helper says %q, %v", out, err)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}

	unsynced := map[string]bool{} // what a power cut would take: files, and the directories of names
	made, moved, answered := 0, 0, false
	for line := range strings.Lines(string(text)) {
		switch m := call.FindStringSubmatch(strings.TrimSuffix(line, "\n")); {
		case m == nil:
		case m[1] == "write" && strings.HasPrefix(m[2], "1<") && strings.Contains(m[2], `"."`): // the home answers
		case m[1] == "write" && strings.HasPrefix(m[2], "1<"):
			answered = true
			for path := range unsynced {
				t.Errorf("%s is not synced before the answer", path)
			}
		case m[1] == "write":
			if p := angle.FindStringSubmatch(m[2]); p != nil && strings.HasPrefix(p[1], dir) {
				unsynced[p[1]] = true
			}
		case m[1] == "fsync" || m[1] == "fdatasync":
			delete(unsynced, angle.FindStringSubmatch(m[2])[1])
		default: // mkdir and rename
			paths := quoted.FindAllStringSubmatch(m[2], -1)
			if strings.HasPrefix(m[1], "rename") {
				if moved++; unsynced[paths[0][1]] {
					t.Errorf("%s gets its name before it is synced", paths[0][1])
				}
			} else {
				made++
			}
			unsynced[filepath.Dir(paths[len(paths)-1][1])] = true
		}
	}
	if made != 6 || moved != 1 || !answered {
		t.Errorf("%d directories, %d names, answered %v in:\n%s", made, moved, answered, text)
	}
}

var (
	call   = regexp.MustCompile(`^\d+ +(\w+)\((.*)\) += \d+$`)
	angle  = regexp.MustCompile(`^\d+<([^>]*)>`)
	quoted = regexp.MustCompile(`"([^"]*)"`)
)
