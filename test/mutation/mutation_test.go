// Package mutation tries the tests that guard what must never break: each fault of
// lib/mutant is planted, alone, and the tests named here must fail; without it the same
// binaries must pass. A test that cannot fail is worse than none.
package mutation

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postrider/lib/mutant"
)

// guards are the tests that must notice each fault, as "package Test".
var guards = map[mutant.Fault][]string{
	mutant.JournalUnsynced: {"lib/journal TestPowerFailsAtEachCall", "test/powercut TestEachCall"},
	mutant.EarlyReply:      {"lib/journal TestPowerFailsAtEachCall", "test/powercut TestEachCall", "test/block TestPowerCut"},
	mutant.NoSeal:          {"lib/journal TestFailedFileIsLeftAlone", "test/powercut TestRefused", "test/powercut TestEachFault"},
	mutant.EarlyMark:       {"qmgr TestMarkFollowsDelivery", "test/kill TestSMTP", "test/calls TestKilledAtEachCall"},
	mutant.EarlyFree:       {"lib/spool TestFreeAfterFinishIsDurable", "test/powercut TestHistories"},
	mutant.TwoStates:       {"lib/spool TestHold", "lib/spool TestModel", "test/powercut TestHistories"},
	mutant.LogUnsynced:     {"lib/spool TestDeleteIsFinal", "test/powercut TestHistories", "test/block TestVerbs"},

	mutant.FirstGroupDue:    {"lib/spool TestTwoGroups"},
	mutant.TornIsDamage:     {"lib/slot TestTornBatch", "test/powercut TestEachCall"},
	mutant.GoodIsDurable:    {"lib/slot TestTornBatch"},
	mutant.TailUnsynced:     {"lib/spool TestOnlyWhatIsDurableIsTailed"},
	mutant.ClockFollows:     {"lib/spool TestClockTenYearsAhead"},
	mutant.NotNoted:         {"lib/spool TestRetryIntoTheMinuteThatIsRead"},
	mutant.EndlessFlush:     {"lib/spool TestFlushEnds"},
	mutant.MaildropUnsynced: {"lib/journal TestMaildropRemovalIsDurable"},
	mutant.Unreserved:       {"lib/spool TestNoSpaceOnTheLog"},
	mutant.Unchecked:        {"lib/slot TestEachBlock"},
	mutant.LostNamesTried:   {"lib/spool TestEveryBlockLost"},
	mutant.NoSearch:         {"lib/spool TestEveryBlockLost", "lib/spool TestDamageIsMetOnce"},
	mutant.SlowSearch:       {"lib/slot TestLinear"},
	mutant.CopyOnWrite:      {"lib/disk TestNoCOW"},
	mutant.LockStays:        {"test/kill TestMaster"},
	mutant.HeadFirst:        {"lib/spool TestTwoLogsFailThenAKill"},
	mutant.SharedSuspect:    {"qmgr TestSuspect"},
	mutant.EarlyStart:       {"qmgr TestDrainBefore"},
	mutant.OldIsNew:         {"lib/spool TestRestored", "test/machine TestRestored"},
	mutant.ForgetShut:       {"lib/spool TestOldFileDoesNotOpen", "test/powercut TestEachFault"},
	mutant.IgnoredWrite:     {"test/powercut TestEachFault", "test/calls TestEachCallFails"},
	mutant.NoWithdraw:       {"test/verbs TestVerbs"},
	mutant.StrayWorkers:     {"test/soak TestSoak"},
	mutant.LeakyReload:      {"test/recovery TestReloads"},
}

// only are the sites (test/calls) at which a fault is to be met, so that it is met soon.
var only = map[mutant.Fault]string{
	mutant.EarlyMark:    "smtp write socket",
	mutant.IgnoredWrite: "cleanup write incoming",
}

// programs are the packages whose tests run the programs themselves, built anew for a
// fault. That they pass without one is shown when they are tested themselves. Of root, those
// that only root can run.
var programs = map[string]struct{ root bool }{
	"test/kill": {}, "test/verbs": {}, "test/recovery": {}, "test/soak": {},
	"test/machine": {root: true}, "test/block": {root: true}, "test/calls": {root: true},
}

func TestMutants(t *testing.T) {
	tests := map[string]string{} // the regular expression for each package's tests
	for _, f := range mutant.All {
		if len(guards[f]) == 0 {
			t.Errorf("no test guards against %s", f)
		}
		for _, g := range guards[f] {
			dir, name, _ := strings.Cut(g, " ")
			if !slices.Contains(strings.Split(tests[dir], "|"), name) {
				tests[dir] = strings.TrimPrefix(tests[dir]+"|"+name, "|")
			}
		}
	}
	binaries := build(t, tests)
	for dir, names := range tests {
		if _, ok := programs[dir]; ok {
			continue
		}
		t.Run("none/"+dir, func(t *testing.T) {
			t.Parallel()
			out, err := run(binaries, dir, names, "")
			if err != nil {
				t.Errorf("with no fault planted: %v\n%s", err, out)
			}
			for name := range strings.SplitSeq(names, "|") {
				if !strings.Contains(out, "--- PASS: "+name+" ") {
					t.Errorf("%s did not run\n%s", name, out)
				}
			}
		})
	}
	for _, f := range mutant.All {
		for _, g := range guards[f] {
			dir, name, _ := strings.Cut(g, " ")
			if programs[dir].root && os.Geteuid() != 0 {
				continue
			}
			t.Run(string(f)+"/"+g, func(t *testing.T) {
				t.Parallel()
				out, err := run(binaries, dir, name, f)
				var exit *exec.ExitError
				if err == nil || !errors.As(err, &exit) || !strings.Contains(out, "--- FAIL: "+name+" ") {
					t.Errorf("%s does not notice: %v\n%s", g, err, out)
				}
			})
		}
	}
}

// build makes the test binaries with the tag. Only what imports lib/mutant is compiled
// anew.
func build(t *testing.T, tests map[string]string) string {
	t.Helper()
	dirs := []string{"lib"}
	for dir := range tests {
		dirs = append(dirs, dir)
	}
	for _, dir := range dirs { // so that the cache of go test knows what this depends on
		err := filepath.WalkDir(filepath.Join("..", "..", filepath.FromSlash(dir)), func(name string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(name, ".go") {
				_, err = os.Stat(name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	to := t.TempDir()
	args := []string{"test", "-c", "-tags", "mutant", "-o", to + string(filepath.Separator)}
	for dir := range tests {
		args = append(args, "postrider/"+dir)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
	return to
}

// run runs tests of a package, in its folder as go test does, with a fault or none.
func run(binaries, dir, names string, f mutant.Fault) (string, error) {
	c := exec.Command(filepath.Join(binaries, path.Base(dir)+".test"), "-test.run=^("+names+")$", "-test.short", "-test.v")
	c.Dir = filepath.Join("..", "..", filepath.FromSlash(dir))
	c.Env = append(os.Environ(), "POSTRIDER_MUTANT="+string(f), "POSTRIDER_CALLS_ONLY="+only[f], "POSTRIDER_CALLS_LIMIT=60",
		"POSTRIDER_MODEL_STEPS=", "POSTRIDER_RELOADS=", // no campaigns: a fault shows soon
		"POSTRIDER_PROGRAMS=", "POSTRIDER_TAGS=mutant", "POSTRIDER_BUILD=-ldflags=-X=postrider/lib/mutant.linked="+string(f))
	out, err := c.CombinedOutput()
	return string(out), err
}
