package config

import (
	"os"
	"path/filepath"
)

// LoadMain reads main.cf alone, for the programs that users run to submit mail:
// mail can be dropped while the rest of the configuration is being repaired, or
// cannot be read by the user. A parameter with a wrong value is as if it were
// empty or 0; a file that a pattern list names and that cannot be read is empty.
// The error is that of reading main.cf.
func LoadMain(dir string) (*Config, error) {
	main := filepath.Join(dir, "main.cf")
	text, err := os.ReadFile(main)
	if err != nil {
		return nil, err
	}
	c, _ := Source{Dir: dir, Host: ThisHost(), ReadFile: func(path string) ([]byte, error) {
		switch path {
		case main:
			return text, nil
		case filepath.Join(dir, "master.cf"):
			return nil, nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, nil
		}
		return b, nil
	}}.Load()
	return c, nil
}
