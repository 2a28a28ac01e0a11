//go:build scale

package scale

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// inside is set in the copy of the test that has a network of its own.
const inside = "POSTRIDER_SCALE_INSIDE"

// TestMain runs everything in a network of its own, where a part of the address space
// drops every packet without a word: 10.0.0.0/8 leads to the other end of a cable, where
// nobody routes. That needs root.
func TestMain(m *testing.M) {
	if os.Getenv(inside) == "" {
		os.Exit(again())
	}
	if err := network(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func again() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintf(os.Stderr, "a network namespace: %v (make scale needs root)\n", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

func network() error {
	for l := range strings.Lines(`link set lo up
link add name hole0 address 02:00:00:00:00:01 type veth peer name hole1 address 02:00:00:00:00:02
addr add 192.0.2.1/24 dev hole0
link set hole0 up
link set hole1 up
neigh replace 192.0.2.2 lladdr 02:00:00:00:00:02 dev hole0 nud permanent
route add 10.0.0.0/8 via 192.0.2.2`) {
		if out, err := exec.Command("ip", strings.Fields(l)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %v: %s", strings.TrimSpace(l), err, out)
		}
	}
	return nil
}

// many is n, or the share of it that POSTRIDER_SCALE says, in percent.
func many(n int) int {
	if p, err := strconv.Atoi(os.Getenv("POSTRIDER_SCALE")); err == nil {
		return n * p / 100
	}
	return n
}
