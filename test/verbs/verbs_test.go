package verbs

import (
	"testing"

	"postrider/test/instance"
)

// What an operator was told holds, whoever is killed right after the command's end.
func TestVerbs(t *testing.T) {
	t.Parallel()
	for name, ending := range map[string]struct {
		do  func(*Matrix)
		cut bool // deliveries that were under way
	}{
		"nothing":         {func(*Matrix) {}, false},
		"kill qmgr":       {func(m *Matrix) { m.KillOne("qmgr"); m.PID("qmgr") }, false},
		"kill smtp":       {func(m *Matrix) { m.KillOne("smtp"); m.PID("smtp") }, true},
		"kill cleanup":    {func(m *Matrix) { m.KillOne("cleanup"); m.PID("cleanup") }, false},
		"kill everything": {func(m *Matrix) { m.Kill(); m.Start() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := New(t, func(lines ...string) *instance.Instance { return instance.New(t, lines...) })
			m.Start()
			m.Bring()
			m.Command()
			ending.do(m)
			m.Judge(ending.cut)
		})
	}
}
