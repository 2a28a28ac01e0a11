//go:build mutant

package mutant

import "os"

var planted = Fault(os.Getenv("POSTRIDER_MUTANT"))

// On says whether the fault f is planted.
func On(f Fault) bool { return f == planted }
