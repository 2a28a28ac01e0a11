package config

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Service is one line of master.cf (master(5)).
type Service struct {
	Name         string        // "smtp", "127.0.0.1:2525", "relay"
	Type         string        // inet, unix, unix-dgram, fifo or pass
	Private      bool          // only for the suite itself; "-" is yes
	Unpriv       bool          // runs as mail_owner; "-" is yes
	Chroot       bool          // "-" is no
	Wakeup       time.Duration // 0: never
	WakeupIfUsed bool          // "60?": only once the service has been used
	MaxProc      int           // sessions or deliveries at once; 0: no limit. Load puts default_process_limit for "-", ParseMaster -1
	Command      string
	Args         []string          // what follows the command, but its -o options
	Overrides    map[string]string // -o name=value and -o { name = value }, not expanded
	Line         int               // of the file
}

// serviceTypes are those of master(5).
var serviceTypes = []string{"inet", "unix", "unix-dgram", "fifo", "pass"}

// ParseMaster reads the text of a master.cf. Of two lines with the same name
// and type the last one holds, in the place of the first.
func ParseMaster(file, text string) ([]Service, Problems) {
	var (
		services []Service
		problems Problems
	)
	Lines(text, func(line int, s string) {
		if blank(s[0]) {
			problems = append(problems, Problem{Warning, file, line,
				"the file starts with a continuation line, which is left out"})
			return
		}
		v, err := parseService(s)
		if err != nil {
			problems = append(problems, Problem{Fatal, file, line, err.Error()})
			return
		}
		v.Line = line
		for i, old := range services {
			if old.Name == v.Name && old.Type == v.Type {
				problems = append(problems, Problem{Warning, file, line, "duplicate entry for service " +
					v.Name + "/" + v.Type + ": the one in line " + strconv.Itoa(old.Line) + " is left out"})
				services[i] = v
				return
			}
		}
		services = append(services, v)
	})
	return services, problems
}

// columns are the names of the fixed fields, for messages.
var columns = [...]string{"service name", "service type", "private", "unprivileged", "chroot", "wakeup time", "process limit", "command"}

func parseService(line string) (Service, error) {
	words, err := splitWords(line, false)
	if err != nil {
		return Service{}, err
	}
	if len(words) < len(columns) {
		return Service{}, errf(`missing "%s" field (8 columns are needed: service type private unpriv chroot wakeup maxproc command)`, columns[len(words)])
	}
	for i, name := range columns {
		if words[i] == "" {
			return Service{}, errf(`empty "%s" field`, name)
		}
	}
	v := Service{Name: words[0], Type: words[1], Command: words[7]}
	if !slices.Contains(serviceTypes, v.Type) {
		return v, errf("bad transport type: %s (one of: %s)", clip(v.Type), strings.Join(serviceTypes, ", "))
	}
	if v.Type == "inet" {
		if _, port := v.HostPort(); port == "" {
			return v, errf("service name without a port: %s", clip(v.Name))
		}
	} else if strings.Contains(v.Name, "..") || strings.HasPrefix(v.Name, "/") {
		return v, errf("bad service name: %s", clip(v.Name))
	}
	for i, f := range []struct {
		to  *bool
		def bool
	}{{&v.Private, true}, {&v.Unpriv, true}, {&v.Chroot, false}} {
		switch w := words[2+i]; w {
		case "y":
			*f.to = true
		case "n":
			*f.to = false
		case "-":
			*f.to = f.def
		default:
			return v, errf(`field "%s" has bad value: "%s" (write y, n or -)`, columns[2+i], clip(w))
		}
	}
	if v.Type == "inet" && words[2] != "-" && v.Private {
		return v, errf(`field "private" has bad value: "y" (an inet service is not private)`)
	}
	if v.Type == "inet" {
		v.Private = false
	}
	if w := words[5]; w != "-" {
		w, v.WakeupIfUsed = strings.CutSuffix(w, "?")
		n, err := strconv.ParseUint(w, 10, 31)
		if err != nil {
			return v, errf(`field "wakeup time" has bad value: "%s"`, clip(words[5]))
		}
		v.Wakeup = time.Duration(n) * time.Second
	}
	v.MaxProc = -1
	if w := words[6]; w != "-" {
		n, err := strconv.ParseUint(w, 10, 31)
		if err != nil {
			return v, errf(`field "process limit" has bad value: "%s"`, clip(w))
		}
		v.MaxProc = int(n)
	}
	return v, v.parseArgs(words[8:])
}

// parseArgs takes the -o options out of a command's arguments. Options end at
// the first word that is none, so that argv= of pipe(8) keeps its own.
func (v *Service) parseArgs(args []string) error {
	for i := 0; i < len(args); i++ {
		a := args[i]
		if len(a) < 2 || a[0] != '-' || a == "--" {
			v.Args = append(v.Args, args[i:]...)
			return nil
		}
		if a[1] != 'o' {
			v.Args = append(v.Args, a)
			continue
		}
		setting := a[2:]
		if setting == "" {
			if i++; i == len(args) {
				return errf("-o without name=value")
			}
			setting = args[i]
		}
		name, value, ok := strings.Cut(setting, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return errf("-o %s: write -o name=value or, with blanks, -o { name = value }", clip(setting))
		}
		if v.Overrides == nil {
			v.Overrides = map[string]string{}
		}
		v.Overrides[name] = value
	}
	return nil
}

// HostPort divides the name of an inet service: "25", "smtp", "host:25",
// "[::1]:25". An empty host stands for inet_interfaces.
func (v *Service) HostPort() (host, port string) {
	if !strings.Contains(v.Name, ":") {
		return "", v.Name
	}
	host, port, err := net.SplitHostPort(v.Name)
	if err != nil {
		return "", ""
	}
	return host, port
}
