//go:build !mutant

package mutant

import (
	"os"
	"os/exec"
	"testing"
)

// No environment makes a program as it is shipped break a promise.
func TestOff(t *testing.T) {
	const inner = "POSTRIDER_MUTANT_INNER"
	for _, f := range All {
		if On(f) {
			t.Errorf("%s is planted", f)
		}
		if os.Getenv(inner) != "" {
			continue
		}
		c := exec.Command(os.Args[0], "-test.run=^TestOff$")
		c.Env = append(os.Environ(), inner+"=1", "POSTRIDER_MUTANT="+string(f))
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", f, err, out)
		}
	}
}
