package postmap

import (
	"strings"
	"testing"
)

// Every letter that postmap takes is in its manual.
func TestManual(t *testing.T) {
	text := " "
	for _, i := range Manual().Options {
		text += i.Term + " "
	}
	for _, c := range letters {
		if c != ':' && !strings.Contains(text, " -"+string(c)) {
			t.Errorf("-%c is not in the manual", c)
		}
	}
}
