// Command manual writes the manual pages of the suite into a directory: make man. What
// a page says of options and parameters comes from the tables that the programs
// themselves use, so that no page can be behind the code.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"postrider/lib/config"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: manual DIRECTORY")
		os.Exit(64)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "manual:", err)
		os.Exit(1)
	}
}

// write puts every page into the directory, and for each alias a page that leads to it.
func write(dir string) error {
	all, err := pages(".")
	if err != nil {
		return err
	}
	for _, p := range all {
		name := fmt.Sprintf("%s.%d", p.Name, p.Section)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(p.Man(config.Version)), 0o644); err != nil {
			return err
		}
		for _, a := range p.Aliases {
			text := fmt.Sprintf(".so man%d/%s\n", p.Section, name)
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s.%d", a, p.Section)), []byte(text), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
