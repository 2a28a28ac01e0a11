package disk

import (
	"bytes"
	"os"
	"syscall"
	"testing"
)

// What a failed sync left in memory survives a power cut once it is rewritten, and
// not by a sync that succeeds.
func TestRewrite(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	const from = 1000
	lost := false
	for seed := range uint64(10) {
		m := NewModel(seed)
		for _, name := range []string{"synced", "rewritten"} {
			f, err := m.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteAt(want[:from], 0)
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			f.WriteAt(want[from:], from)
			m.Fail(Fault{Op: OpSync, Err: syscall.EIO})
			if f.Sync() == nil {
				t.Fatal("the sync did not fail")
			}
			m.Heal()
			m.Kill()
			f, err = m.OpenFile(name, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if name == "rewritten" {
				err = Rewrite(f, from, int64(len(want)))
			} else {
				err = f.Sync()
			}
			if err != nil {
				t.Fatal(err)
			}
			m.SyncDir(".")
		}
		m.PowerCut()
		read := func(name string) []byte {
			f, err := m.OpenFile(name, os.O_RDONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, len(want))
			f.ReadAt(b, 0)
			return b
		}
		if !bytes.Equal(read("rewritten"), want) {
			t.Errorf("seed %d: what was rewritten is lost", seed)
		}
		lost = lost || !bytes.Equal(read("synced"), want)
	}
	if !lost {
		t.Error("nothing was ever lost without rewriting: this test proves nothing")
	}
}
