//go:build mutant

package mutant

import (
	"cmp"
	"os"
)

// linked names the fault in programs that are started with a clean environment:
// go build -tags mutant -ldflags "-X postrider/lib/mutant.linked=NAME".
var linked string

var planted = Fault(cmp.Or(linked, os.Getenv("POSTRIDER_MUTANT")))

// On says whether the fault f is planted.
func On(f Fault) bool { return f == planted }
