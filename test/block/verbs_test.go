package block

import (
	"testing"

	"postrider/test/instance"
	"postrider/test/verbs"
)

// What an operator was told holds when the plug is pulled right behind the command's end
// (S8), at whatever point of its delivery the message was.
func TestVerbs(t *testing.T) {
	each(t, func(t *testing.T, kind filesystem) {
		if kind.name == "btrfs" {
			return // has no such call
		}
		d := newDisk(t, kind)
		m := verbs.New(t, func(lines ...string) *instance.Instance {
			i := instance.Tagged(t, "smallfiles", append(lines, "queue_minfree = 1000000")...)
			d.carry(i)
			return i
		})
		d.furnish()
		m.Start()
		m.Bring()
		m.Command()
		if err := d.pull(shutNoLogFlush); err != nil {
			t.Fatal(err)
		}
		m.Kill()
		d.unmount()
		if err := d.mount(); err != nil {
			t.Fatal(err)
		}
		m.Start()
		m.Judge(true)
	})
}
