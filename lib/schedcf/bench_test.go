package schedcf

import (
	"os"
	"testing"
)

func BenchmarkRead(b *testing.B) {
	src, err := os.ReadFile("testdata/design.cf")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		Read("sched.cf", src, Options{})
	}
}
