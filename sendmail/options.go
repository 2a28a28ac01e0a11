package sendmail

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"postrider/lib/config"
	"postrider/lib/getopt"
	"postrider/lib/header"
	"postrider/lib/mail"
	"postrider/lib/sysexits"
)

// mode is what a run is for.
type mode uint8

const (
	modeMail    mode = iota // -bm, the default
	modeQueue               // -bp, -q, mailq: postqueue does it
	modeAliases             // -bi, -I, newaliases
	modeNothing             // -bh, -bH: there is no host status to show or purge
	modeServe               // -bs: SMTP on standard input and output
	modeStart               // -bd, -bl: postrider start
)

// options is the command line.
type options struct {
	mode       mode
	queueArgs  []string // modeQueue: for postqueue
	dir        string   // configuration directory
	dirSet     bool     // by -C
	sender     string   // -f, -r
	senderSet  bool
	fullName   string // -F
	recipients []string
	fromHeader bool // -t
	ignoreDots bool // -i
	body       mail.Body
	envID      string
	verp       *string // delimiters of -XV; "": the usual ones
	ret        string
	notify     mail.Notify
	trace      mail.Trace // -bv, -v
	warnings   []string   // about options that are passed over
}

// spec is Postfix's set of letters: those that other sendmails know are taken, and
// do nothing where Postfix does nothing.
const spec = "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:q::tvx"

func parse(name string, args []string) (*options, error) {
	o := &options{}
	switch name {
	case "mailq":
		o.list()
	case "newaliases":
		o.mode = modeAliases
	}
	opts, rest, err := getopt.Parse(args, spec)
	if err != nil {
		return nil, fail(sysexits.Usage, "%v (usage: sendmail [options] [recipient ...])", err)
	}
	for _, p := range opts {
		if err := o.take(p.Letter, p.Arg); err != nil {
			return nil, err
		}
	}
	o.recipients = rest
	if !o.dirSet {
		o.dir = config.Dir("")
	}
	return o, nil
}

func (o *options) list() { o.mode, o.queueArgs = modeQueue, []string{"-p"} }

func (o *options) take(letter byte, arg string) error {
	switch letter {
	case 'C': // a directory, or sendmail's file in it
		o.dir, o.dirSet = arg, true
		if st, err := os.Stat(arg); err == nil && !st.IsDir() {
			o.dir = filepath.Dir(arg)
		}
	case 'F':
		o.fullName = arg
	case 'f', 'r':
		o.sender, o.senderSet = arg, true
	case 'i':
		o.ignoreDots = true
	case 'o':
		o.ignoreDots = o.ignoreDots || arg == "i"
	case 't':
		o.fromHeader = true
	case 'I':
		o.mode = modeAliases
	case 'b':
		return o.takeMode(arg)
	case 'q':
		return o.takeQueue(arg)
	case 'B':
		switch strings.ToUpper(arg) {
		case "7BIT":
			o.body = mail.Body7Bit
		case "8BITMIME":
			o.body = mail.Body8Bit
		default:
			return fail(sysexits.Usage, "-B option needs 8BITMIME or 7BIT, not %q", arg)
		}
	case 'v': // more of them make Postfix's log verbose
		if o.trace == 0 {
			o.trace = mail.TraceRecord
		}
	case 'N':
		return o.takeNotify(arg)
	case 'R':
		switch ret := strings.ToUpper(arg); ret {
		case "FULL", "HDRS":
			o.ret = ret
		default:
			o.warnings = append(o.warnings, fmt.Sprintf("bad -R option value %q -- ignored: it is full or hdrs", arg))
		}
	case 'V':
		if o.envID = string(mail.AppendXtext(nil, arg)); len(o.envID) > 100 {
			return fail(sysexits.Usage, "-V: the envelope id is longer than 100 characters")
		}
	case 'X':
		if strings.HasPrefix(arg, "V") {
			delimiters := arg[1:]
			o.verp = &delimiters
		}
	}
	return nil
}

func (o *options) takeMode(arg string) error {
	switch arg {
	case "m":
	case "p":
		o.list()
	case "i":
		o.mode = modeAliases
	case "h", "H":
		o.mode = modeNothing
	case "s":
		o.mode = modeServe
	case "v":
		o.trace = mail.TraceVerify
	case "d", "l":
		o.mode = modeStart
	default:
		return fail(sysexits.Usage, "unsupported: -b%.20s", arg)
	}
	return nil
}

func (o *options) takeQueue(arg string) error {
	switch {
	case arg == "":
		o.mode, o.queueArgs = modeQueue, []string{"-f"}
	case arg[0] == 'I' && len(arg) > 1:
		o.mode, o.queueArgs = modeQueue, []string{"-i", arg[1:]}
	case arg[0] == 'R' && len(arg) > 1:
		o.mode, o.queueArgs = modeQueue, []string{"-s", arg[1:]}
	case arg[0] >= '0' && arg[0] <= '9': // an interval: qmgr has its own
	default:
		return fail(sysexits.Unavailable, "-q%.20s is not supported: only -q, -qIid and -qRsite are", arg)
	}
	return nil
}

func (o *options) takeNotify(arg string) error {
	n, ok := mail.ParseNotify(arg)
	if !ok {
		o.warnings = append(o.warnings, fmt.Sprintf("bad -N option value %q -- ignored: it is never, or success, failure and delay with commas between", arg))
		return nil
	}
	o.notify = n
	return nil
}

// from is the envelope sender: -f, which may be empty and may have a phrase, or the
// caller's login name.
func (o *options) from(c caller) (mail.Address, error) {
	if !o.senderSet {
		if !c.known {
			return "", c.fail(sysexits.OSErr, "no passwd entry for this uid: name the sender with -f")
		}
		return mail.Address(c.login), nil
	}
	if strings.Trim(o.sender, " <>") == "" {
		return "", nil
	}
	list, err := header.Addresses(nil, []byte(o.sender), 0)
	if err != nil || len(list) != 1 {
		return "", c.fail(sysexits.Usage, "-f option specified malformed sender: %q", o.sender)
	}
	return list[0], nil
}
