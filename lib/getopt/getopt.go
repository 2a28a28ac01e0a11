// Package getopt parses command lines in the traditional Unix way: clusters of
// one-letter options (-it), arguments attached or apart (-fuser, -f user), "--"
// as the end, and the first operand as the end too. sendmail and postdrop need
// it because callers have passed them "-oi -bp -fuser" for forty years. It imports
// next to nothing: postdrop runs set-gid.
package getopt

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUsage is the kind of every error of Parse.
var ErrUsage = errors.New("usage error")

// Option is one option as it was given.
type Option struct {
	Letter byte
	Arg    string // its argument, or "" when it takes none
}

// Parse splits args, without the program's name, into options and operands. spec
// lists the letters as getopt(3) does: a letter behind which ":" stands takes an
// argument, attached or as the next word; behind "::" only an attached one, which
// may be missing. An argument may be empty when it is a word of its own. Errors
// are ErrUsage; the options before the wrong one are returned with it.
func Parse(args []string, spec string) (opts []Option, operands []string, err error) {
	for len(args) > 0 {
		word := args[0]
		if len(word) < 2 || word[0] != '-' {
			break
		}
		args = args[1:]
		if word == "--" {
			break
		}
		for i := 1; i < len(word); i++ {
			c := word[i]
			at := strings.IndexByte(spec, c)
			if c == ':' || at < 0 {
				return opts, args, fmt.Errorf("unknown option -%s: %w", printable(c), ErrUsage)
			}
			kind := spec[at+1:]
			if !strings.HasPrefix(kind, ":") {
				opts = append(opts, Option{Letter: c})
				continue
			}
			arg := word[i+1:]
			if arg == "" && !strings.HasPrefix(kind, "::") {
				if len(args) == 0 {
					return opts, args, fmt.Errorf("option -%c requires an argument: %w", c, ErrUsage)
				}
				arg, args = args[0], args[1:]
			}
			opts = append(opts, Option{c, arg})
			break
		}
	}
	return opts, args, nil
}

func printable(c byte) string {
	if c <= ' ' || c >= 0x7f {
		return fmt.Sprintf("\\x%02x", c)
	}
	return string(rune(c))
}
