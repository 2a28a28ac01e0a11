package getopt

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

const spec = "b:f:iq::to:v"

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args string
		opts []Option
		rest string
	}{
		{"", nil, ""},
		{"-oi -bp -fuser", []Option{{'o', "i"}, {'b', "p"}, {'f', "user"}}, ""},
		{"-it -f user a b", []Option{{'i', ""}, {'t', ""}, {'f', "user"}}, "a b"},
		{"-vivfx a -t", []Option{{'v', ""}, {'i', ""}, {'v', ""}, {'f', "x"}}, "a -t"},
		{"-t -- -x", []Option{{'t', ""}}, "-x"},
		{"-q -qIabc -q15m x", []Option{{'q', ""}, {'q', "Iabc"}, {'q', "15m"}}, "x"},
		{"-f -- -", []Option{{'f', "--"}}, "-"},
		{"- -t", nil, "- -t"},
	} {
		opts, rest, err := Parse(strings.Fields(c.args), spec)
		if err != nil || !reflect.DeepEqual(opts, c.opts) || strings.Join(rest, " ") != c.rest {
			t.Errorf("%q: %v %q %v", c.args, opts, rest, err)
		}
	}
	opts, rest, err := Parse([]string{"-f", "", "x"}, spec)
	if err != nil || len(opts) != 1 || opts[0].Arg != "" || len(rest) != 1 {
		t.Errorf("an empty argument: %v %q %v", opts, rest, err)
	}
	for _, args := range []string{"-z", "-tz", "-f", "-:", "-tif", "-\x01"} {
		if _, _, err := Parse([]string{args}, spec); !errors.Is(err, ErrUsage) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// FuzzParse holds that options and operands are all that there is: written out
// again one by one they parse to the same.
func FuzzParse(f *testing.F) {
	f.Add("-oi -bp -fuser x -t")
	f.Add("-f  -q -qx -- -")
	f.Fuzz(func(t *testing.T, line string) {
		opts, rest, err := Parse(strings.Split(line, " "), spec)
		if err != nil {
			return
		}
		var again []string
		for _, o := range opts {
			w := "-" + string(rune(o.Letter))
			switch o.Letter {
			case 'b', 'f', 'o':
				again = append(again, w, o.Arg)
			default:
				again = append(again, w+o.Arg)
			}
		}
		again = append(append(again, "--"), rest...)
		opts2, rest2, err := Parse(again, spec)
		if err != nil || !reflect.DeepEqual(opts, opts2) || strings.Join(rest, "\x00") != strings.Join(rest2, "\x00") {
			t.Errorf("%q: %v %q became %v %q, %v", line, opts, rest, opts2, rest2, err)
		}
	})
}
