package calls

import (
	"fmt"
	"testing"

	"postrider/test/instance"
	"postrider/test/supervisor"
)

// Each process is killed before each of its calls, which is after the call before; and so
// is everything at once. master alone is one of them: the others finish what they have.
func TestKilledAtEachCall(t *testing.T) {
	run(t, func(s site, k int) []variant {
		victim := repeated[s.program]
		return []variant{
			{s, fmt.Sprintf("call %d: killed", k), func(*rig) *plan {
				return &plan{site: s, k: k, do: func(c supervisor.Call) { supervisor.Kill(c.Thread) }}
			}, victim},
			{s, fmt.Sprintf("call %d: everything killed", k), func(r *rig) *plan {
				return &plan{site: s, k: k, do: func(c supervisor.Call) { instance.KillTree(r.Master()); supervisor.Kill(c.Thread) }}
			}, inCycle},
		}
	})
}
