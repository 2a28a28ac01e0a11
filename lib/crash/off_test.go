//go:build !crash

package crash

import "testing"

// No marker does anything to programs as they are shipped.
func TestOff(t *testing.T) {
	At("smtp", []byte("crash-smtp-panic"))
	if Planted {
		t.Error("planted")
	}
}
