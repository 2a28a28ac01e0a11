package smtpd

import "testing"

// TestPriority: MT-PRIORITY is read as RFC 6710 has it.
func TestPriority(t *testing.T) {
	for text, want := range map[string]struct {
		n  int8
		is bool
	}{"MT-PRIORITY=3": {3, true}, "mt-priority=-9": {-9, true}, "MT-PRIORITY=0 SIZE=5": {0, true}, "SIZE=5": {0, false}} {
		var m mailParams
		if r := m.parse([]byte(text)); r.code != 0 || m.priority != want.n || m.hasPriority != want.is {
			t.Errorf("%s: %+v, %+v", text, r, m)
		}
	}
	for _, text := range []string{"MT-PRIORITY=10", "MT-PRIORITY=-10", "MT-PRIORITY=", "MT-PRIORITY=+1", "MT-PRIORITY=1 MT-PRIORITY=1", "MT-PRIORITY=x"} {
		var m mailParams
		if r := m.parse([]byte(text)); r.code != 501 {
			t.Errorf("%s: %+v", text, r)
		}
	}
}
