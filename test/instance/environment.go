package instance

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// Number is the whole number in an environment variable, by which a make target or the
// continuous integration makes a test longer; otherwise when there is none.
func Number(t testing.TB, name string, otherwise int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// Seed is the seed in an environment variable, for a run to be repeated; without, one of
// this moment, which the test should log.
func Seed(t testing.TB, name string) uint64 {
	t.Helper()
	return uint64(Number(t, name, int(time.Now().UnixNano()%1_000_000)))
}
