package machine

import (
	"os"
	"testing"

	"postrider/test/supervisor"
)

func TestMain(m *testing.M) {
	supervisor.Main()
	os.Exit(m.Run())
}
