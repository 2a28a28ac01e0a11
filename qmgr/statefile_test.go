package qmgr

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What was written last is read; when that is damaged, at whatever place, what was
// written before it; a foreign file is left out with a line that names it.
func TestStateFiles(t *testing.T) {
	dir := t.TempDir()
	var said []string
	warnf := func(f string, a ...any) { said = append(said, fmt.Sprintf(f, a...)) }
	read := func() string {
		said = nil
		s := openState(dir, warnf)
		defer s.close()
		return string(s.read(warnf))
	}
	if got := read(); got != "" || said != nil {
		t.Fatalf("nothing yet: %q, %q", got, said)
	}
	states := []string{strings.Repeat("a long one\n", 1000), "short\n", "", strings.Repeat("another\n", 50)}
	for i, data := range states {
		s := openState(dir, warnf)
		if got := s.read(warnf); i > 0 && string(got) != states[i-1] {
			t.Fatalf("before writing %d: %q", i, got)
		}
		if err := s.write([]byte(data)); err != nil {
			t.Fatal(err)
		}
		s.close()
		if got := read(); got != data || said != nil {
			t.Fatalf("written %q, read %q, said %q", data, got, said)
		}
	}
	newest := filepath.Join(dir, stateNames[1]) // the first went to b, the fourth to a
	if b, _ := os.ReadFile(filepath.Join(dir, stateNames[0])); strings.HasSuffix(string(b), states[3]) {
		newest = filepath.Join(dir, stateNames[0])
	}
	good, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i <= len(good); i++ {
		bad := bytes.Clone(good)
		if i == len(good) {
			bad = append(bad, 'x')
		} else {
			bad[i] ^= 0x20
		}
		os.WriteFile(newest, bad, 0o600)
		if got := read(); got != states[2] || len(said) != 1 || !strings.Contains(said[0], newest) {
			t.Fatalf("byte %d of the newest is damaged: read %q, said %q", i, got, said)
		}
	}
	os.WriteFile(newest, good[:len(good)-5], 0o600) // torn
	if got := read(); got != states[2] {
		t.Errorf("torn: %q", got)
	}
	for _, name := range stateNames {
		os.WriteFile(filepath.Join(dir, name), []byte("not ours"), 0o600)
	}
	if got := read(); got != "" || len(said) != 2 {
		t.Errorf("both foreign: %q, %q", got, said)
	}
	os.Remove(newest)
	os.Mkdir(newest, 0o700)
	if s := openState(dir, warnf); s != nil {
		t.Error("a directory was taken for a state")
	}
}
