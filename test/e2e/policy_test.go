package e2e

import (
	"strings"
	"testing"

	"postrider/test/instance"
)

const policyOne = `queue "vip" { slots = 5 }
rule {
  when  = rcpt == "vip@x.test"
  queue = "vip"
}
rule { }
`

// TestPolicyHandOver: a broken sched.cf is no start; at a reload one line says what is wrong
// with it and the old one goes on; a good one is handed out, and the log says what changed.
func TestPolicyHandOver(t *testing.T) {
	i := instance.New(t)
	i.WriteFile("conf/sched.cf", strings.Replace(policyOne, "rcpt ==", "rcptt ==", 1))
	i.Launch()
	i.Await("master gives up", i.Exited)
	if got := i.Stderr(); !strings.Contains(got, `sched.cf:3:11: there is no fact "rcptt"; did you mean "rcpt"?`) {
		t.Fatalf("master said %s", got)
	}
	i.WriteFile("conf/sched.cf", policyOne)
	i.Start()

	i.WriteFile("conf/sched.cf", strings.Replace(policyOne, `queue = "vip"`, `queue = "wip"`, 1))
	i.Hangup()
	i.AwaitLog(`master.*reload: sched.cf:4:11: no queue "wip" is declared; did you mean "vip"\?; .*the old configuration stays`)
	if r := i.Run("master", "-c", i.Conf, "reload"); r.Code == 0 || !strings.Contains(r.Stderr, "sched.cf:4:11") {
		t.Errorf("reload: %+v", r)
	}

	i.WriteFile("conf/sched.cf", strings.Replace(policyOne, "slots = 5", "slots = 6", 1)+"\nqueue \"more\" { }\n")
	i.Hangup()
	i.AwaitLog(`master.*sched.cf: queue vip changed, queue more added`)
	i.AwaitLog(`master.*warning: sched.cf:8:7: queue "more" is declared, but no rule leads to it`)
}
