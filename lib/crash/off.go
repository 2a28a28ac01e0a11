//go:build !crash

package crash

// Planted says whether markers kill: never, in this build.
const Planted = false

// At does nothing in this build.
func At(reader string, text []byte) {}
