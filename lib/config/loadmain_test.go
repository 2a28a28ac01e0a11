package config

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLoadMain(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadMain(dir); err == nil {
		t.Error("no main.cf, no error")
	}
	text := "queue_directory = /q\nmynetworks = /no/such/file\nhopcount_limit = many\n"
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := LoadMain(dir)
	if err != nil || c.String("queue_directory") != "/q" || c.Int("hopcount_limit") != 0 {
		t.Errorf("%v: %q, %d", err, c.String("queue_directory"), c.Int("hopcount_limit"))
	}
}
